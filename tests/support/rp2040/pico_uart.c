/* HAL for UART0 of an RP2040, polled, at GP0 and GP1. The chip wakes up on a ring oscillator that may be anything from 1 to 12 MHz, so
 * core and UART are put on the crystal. RP2040 data sheet: 2.14 resets, 2.15 clocks, 2.16 crystal, 2.19 pins, 4.2 UART. */
#include "hal.h"

#include "chip.h"

#define CLEAR 0x3000u /* beside each register one that clears the bits that are written to it */
#define RESETS 0x4000C000u
#define RESETS_DONE 0x4000C008u
enum { RESET_IO_BANK0 = 1 << 5, RESET_PADS_BANK0 = 1 << 8, RESET_UART0 = 1 << 22 };
enum { RESETS_OURS = RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_UART0 };

#define CLK_REF_CTRL 0x40008030u
#define CLK_REF_SELECTED 0x40008038u
#define CLK_SYS_CTRL 0x4000803Cu
#define CLK_SYS_SELECTED 0x40008044u
#define CLK_PERI_CTRL 0x40008048u
enum { REF_FROM_CRYSTAL = 2, SYS_FROM_REF = 0, PERI_ENABLE = 1 << 11 };

#define XOSC_CTRL 0x40024000u
#define XOSC_STATUS 0x40024004u
#define XOSC_STARTUP 0x4002400Cu
#define XOSC_ON (0xFABu << 12 | 0xAA0u) /* 1 to 15 MHz */
#define XOSC_STABLE (1u << 31)
enum { XOSC_DELAY = 47 }; /* 256 cycles each: 1 ms */

#define GPIO0_CTRL 0x40014004u
#define GPIO1_CTRL 0x4001400Cu
enum { FUNCTION_UART = 2 };

#define WATCHDOG_LOAD 0x40058004u
#define WATCHDOG_MOST 0xFFFFFFu

enum { UART_DR = 0x00, UART_FR = 0x18, UART_IBRD = 0x24, UART_FBRD = 0x28, UART_LCR_H = 0x2C, UART_CR = 0x30 };
enum { FR_RX_EMPTY = 1 << 4, FR_TX_FULL = 1 << 5, DR_OVERRUN = 1 << 11 };
enum { LCR_H_8_BITS = 3 << 5, LCR_H_FIFO = 1 << 4 };
enum { CR_ENABLE = 1 << 0, CR_TX_ENABLE = 1 << 8, CR_RX_ENABLE = 1 << 9 };

/* Of the baud rate, in sixty-fourths: rounded. */
#define DIVIDER ((4u * (SYNAPCC_UART_CLOCK_HZ) + (SYNAPCC_BAUD) / 2u) / (SYNAPCC_BAUD))

static uint32_t link_errors;

static uint32_t uart_read(uint32_t offset)
{
    return register_read(SYNAPCC_UART_BASE + offset);
}

static void uart_write(uint32_t offset, uint32_t value)
{
    register_write(SYNAPCC_UART_BASE + offset, value);
}

void hal_init(void)
{
    link_errors = 0;
    register_write(XOSC_STARTUP, XOSC_DELAY);
    register_write(XOSC_CTRL, XOSC_ON);
    if (register_becomes(XOSC_STATUS, XOSC_STABLE, XOSC_STABLE)) {
        register_write(CLK_REF_CTRL, REF_FROM_CRYSTAL);
        (void)register_becomes(CLK_REF_SELECTED, 1u << REF_FROM_CRYSTAL, 1u << REF_FROM_CRYSTAL);
        register_write(CLK_SYS_CTRL, SYS_FROM_REF);
        (void)register_becomes(CLK_SYS_SELECTED, 1u << SYS_FROM_REF, 1u << SYS_FROM_REF);
    }
    register_write(CLK_PERI_CTRL, PERI_ENABLE); /* from the core's clock */
    register_write(RESETS + CLEAR, RESETS_OURS);
    (void)register_becomes(RESETS_DONE, RESETS_OURS, RESETS_OURS);
    uart_write(UART_CR, 0);
    uart_write(UART_IBRD, DIVIDER / 64u);
    uart_write(UART_FBRD, DIVIDER % 64u);
    uart_write(UART_LCR_H, LCR_H_8_BITS | LCR_H_FIFO); /* takes over the divider too */
    uart_write(UART_CR, CR_ENABLE | CR_TX_ENABLE | CR_RX_ENABLE);
    register_write(GPIO0_CTRL, FUNCTION_UART);
    register_write(GPIO1_CTRL, FUNCTION_UART);
}

uint8_t hal_rx(void)
{
    uint32_t data;

    do {
        hal_pet();
    } while ((uart_read(UART_FR) & FR_RX_EMPTY) != 0);
    data = uart_read(UART_DR);
    if ((data & DR_OVERRUN) != 0)
        link_errors++;
    return (uint8_t)data;
}

void hal_tx(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while ((uart_read(UART_FR) & FR_TX_FULL) != 0) {
        }
        uart_write(UART_DR, bytes[i]);
    }
}

uint32_t hal_link_errors(void)
{
    return link_errors;
}

void hal_stack(uintptr_t *low, uintptr_t *high)
{
    *low = (uintptr_t)_sstack;
    *high = (uintptr_t)_estack;
}

void hal_spare(uintptr_t *low, uintptr_t *high)
{
    *low = (uintptr_t)_sspare;
    *high = (uintptr_t)_espare;
}

void hal_pet(void)
{
    register_write(WATCHDOG_LOAD, WATCHDOG_MOST);
}

void hal_reset(void)
{
    chip_reset();
}

uintptr_t hal_kept(uint32_t bytes)
{
    return chip_kept(bytes);
}
