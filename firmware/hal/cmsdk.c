/* HAL for the UART of Arm's Cortex-M System Design Kit, polled: the MPS2 and MPS3 boards and their emulators. */
#include "hal.h"

#include "chip.h"

#ifndef SYNAPCC_UART_BASE
#define SYNAPCC_UART_BASE 0x40004000u
#endif
#ifndef SYNAPCC_BAUD
#define SYNAPCC_BAUD 115200u
#endif
#ifndef SYNAPCC_UART_CLOCK_HZ
#error "define SYNAPCC_UART_CLOCK_HZ: the clock that feeds the UART"
#endif

#define BAUD_DIVIDER ((SYNAPCC_UART_CLOCK_HZ) / (SYNAPCC_BAUD))
#if BAUD_DIVIDER < 16
#error "SYNAPCC_BAUD is too fast for SYNAPCC_UART_CLOCK_HZ: the UART ignores dividers below 16"
#endif

enum { UART_DATA = 0x00, UART_STATE = 0x04, UART_CTRL = 0x08, UART_BAUDDIV = 0x10 };
enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2, STATE_RX_OVERRUN = 8 };
enum { CTRL_TX_ENABLE = 1, CTRL_RX_ENABLE = 2 };

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
    uart_write(UART_BAUDDIV, BAUD_DIVIDER);
    uart_write(UART_CTRL, CTRL_TX_ENABLE | CTRL_RX_ENABLE);
}

uint8_t hal_rx(void)
{
    uint32_t state;

    do {
        state = uart_read(UART_STATE);
    } while ((state & STATE_RX_FULL) == 0);
    if ((state & STATE_RX_OVERRUN) != 0) {
        link_errors++;
        uart_write(UART_STATE, STATE_RX_OVERRUN); /* writing one clears it */
    }
    return (uint8_t)uart_read(UART_DATA);
}

void hal_tx(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while ((uart_read(UART_STATE) & STATE_TX_FULL) != 0) {
        }
        uart_write(UART_DATA, bytes[i]);
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
    /* none of these boards starts with one running */
}

void hal_reset(void)
{
    chip_reset();
}

uintptr_t hal_kept(uint32_t bytes)
{
    return chip_kept(bytes);
}
