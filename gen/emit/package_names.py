"""Names that a model cannot have in an ecosystem, since something else there has them.

Names of models are small letters, digits and single underscores (gen.importers), which all of them take.
"""

from __future__ import annotations

from collections.abc import Mapping

# Headers of Arduino cores and of their usual libraries, and what file systems take for them.
_ARDUINO = """
    abi api arduino binary bluetooth can client common compat dmachannel eeprom ethernet fs hardwareserial
    hid interrupt ipaddress keyboard main mouse new pgmspace pins_arduino pluggableusb print printable
    sd serial servo softwareserial spi stepper stream tone udp usb usbapi variant wcharacter wifi wire
    wiring wiring_private wmath wprogram wstring
"""
# Components that ESP-IDF has: one of the same name would take their place.
_ESP_IDF = """
    app_trace app_update bootloader bootloader_support bt cmock console cxx driver efuse espcoredump esp_adc
    esp_timer esp_system esp_common esp_event esp_hw_support esp_mm esp_netif esp_partition esp_phy esp_pm
    esp_psram esp_ringbuf esp_rom esp_wifi fatfs freertos hal heap http_parser idf_test ieee802154 json log
    lwip main mbedtls mqtt newlib nvs_flash nvs_sec_provider openthread partition_table perfmon protobuf_c
    protocomm pthread rt sdmmc soc spi_flash spiffs tcp_transport touch_element ulp unity usb vfs
    wear_levelling wifi_provisioning wpa_supplicant xtensa riscv linux
"""
# Modules of Zephyr's own manifest.
_ZEPHYR = """
    acpica canopennode chre cmsis cmsis_6 fatfs hostap littlefs loramac_node lvgl lz4 mbedtls mcuboot
    mipi_sys_t nanopb net_tools nrf_hw_models open_amp openthread percepio picolibc psa_arch_tests segger
    tfm zcbor zephyr
"""

TAKEN: Mapping[str, frozenset[str]] = {
    "arduino": frozenset(_ARDUINO.split()),
    "esp-idf": frozenset(_ESP_IDF.split()),
    "zephyr": frozenset(_ZEPHYR.split()),
}
"""By kind of package; in CMake, PlatformIO and packs everything has a prefix or a folder of its own."""

NAMES_OF_PACKS = 2, 32
"""How long the name of a component's group may be: PACK.xsd, CidPartType."""
