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
# Components that ESP-IDF has or had: one of the same name would take their place; and its bare headers.
_ESP_IDF = """
    app_trace app_update asio bootloader bt cbor cmock coap console cxx diskio driver efuse
    espcoredump expat fatfs ff freemodbus freertos hal heap http_parser idf idf_test ieee802154 jsmn
    json libsodium linux log lwip main mbedtls mdns mqtt mqtt_client network_provisioning newlib nghttp nvs
    nvs_flash nvs_sec_provider openssl openthread partition_table perfmon protobuf_c protocomm pthread riscv
    rt sdmmc sdmmc_cmd soc spi_flash spiffs tcp_transport tcpip_adapter tinyusb touch_element ulp unity usb
    vfs wear_levelling wifi_provisioning wpa_supplicant xtensa
"""
# Modules of Zephyr's own manifest, and headers of a chip that lie bare.
_ZEPHYR = """
    acpica bsim canopennode chre cmsis dhara edtt fatfs hostap liblc3 libmetal libsbc littlefs loramac_node
    lvgl lz4 mbedtls mcuboot mipi_sys_t nanopb net_tools nrf_hw_models nrf_wifi open_amp openthread percepio
    picolibc psa_arch_tests segger soc sof tf_m_tests tflite_micro tfm thrift tinycrypt trusted_firmware_a
    trusted_firmware_m uoscore_uedhoc xtensa zcbor zephyr zscilib
"""
# Prefixes of constants that libraries of chips call as a model of that name would: ESP_OK, FR_OK, ERR_OK.
_CONSTANTS = "bsp err esp fr spiffs usbd usbh"

TAKEN: Mapping[str, frozenset[str]] = {
    "platformio": frozenset(_CONSTANTS.split()),
    "arduino": frozenset(f"{_ARDUINO} {_CONSTANTS}".split()),
    "zephyr": frozenset(f"{_ZEPHYR} {_CONSTANTS}".split()),
    "esp-idf": frozenset(f"{_ESP_IDF} {_CONSTANTS}".split()),
    "cmsis-pack": frozenset(_CONSTANTS.split()),
}
"""By kind of package; in CMake everything has a prefix or a folder of its own."""

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "arduino": ("esp_", "esp32", "esp8266"),
    "zephyr": ("babblesim_", "cmsis_", "hal_"),
    "esp-idf": ("bootloader_", "esp_", "esp32"),
}
"""How whole families of such names begin, which grow with every release: esp_http_client, hal_nordic."""

OF_EXAMPLES = frozenset({"example_turn"})
"""Names of the example's own: a model of that name has a type example_turn_t, too. Its files have hyphens in
their names, which no model has."""

NAMES_OF_PACKS = 2, 32
"""How long the name of a component's group may be: PACK.xsd, CidPartType."""


def taken(model: str, package: str) -> bool:
    """Whether something else has the model's name in packages of that kind."""
    names, families = TAKEN.get(package, frozenset()), FAMILIES.get(package, ())
    return model in names | OF_EXAMPLES or model.startswith(families)
