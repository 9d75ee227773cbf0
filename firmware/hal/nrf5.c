/* HAL for the UART of nRF51, and of the nRF52 that still have it (nRF52832, nRF52840), polled and without DMA. Its baud rate comes from
 * 16 MHz on all of them, whatever the core's clock. */
#include "hal.h"

#include "chip.h"

#ifndef SYNAPCC_UART_BASE
#define SYNAPCC_UART_BASE 0x40002000u
#endif
#ifndef SYNAPCC_BAUD
#define SYNAPCC_BAUD 115200u
#endif
#if !defined(SYNAPCC_TX_PIN) || !defined(SYNAPCC_RX_PIN)
#error "define SYNAPCC_TX_PIN and SYNAPCC_RX_PIN: 32 to a port, P0.06 is 6 and P1.10 is 42"
#endif
#if SYNAPCC_BAUD > 1000000
#error "SYNAPCC_BAUD is too fast: 1000000 is the most"
#endif

/* baud * 2^32 / 16 MHz, of which the hardware has the upper 20 bits. */
#define BAUD_RATE ((uint32_t)((((uint64_t)(SYNAPCC_BAUD) << 32) / 16000000u + 0x800u) & 0xFFFFF000u))

#define CLOCK_HFCLK_START 0x40000000u
#define CLOCK_HFCLK_STARTED 0x40000100u

#define GPIO(pin) (0x50000000u + 0x300u * ((pin) / 32u))
enum { GPIO_OUTSET = 0x508, GPIO_PIN_CNF = 0x700 };
enum { PIN_INPUT_PULLED_UP = 3 << 2, PIN_OUTPUT = 3 };

enum { UART_START_RX = 0x000, UART_START_TX = 0x008, UART_RX_READY = 0x108, UART_TX_READY = 0x11C, UART_ERROR_SOURCE = 0x480 };
enum { UART_ENABLE = 0x500, UART_TX_PIN = 0x50C, UART_RX_PIN = 0x514, UART_RX_DATA = 0x518, UART_TX_DATA = 0x51C };
enum { UART_BAUD_RATE = 0x524, UART_CONFIG = 0x56C };
enum { ENABLED = 4, CONFIG_8N1 = 0, ERROR_OVERRUN = 1 };

#define WDT_RELOAD 0x40010600u
#define WDT_RELOAD_KEY 0x6E524635u

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
    /* The crystal, for the baud rate: the oscillator that the chip wakes up with may be 5 % off on an nRF51. A board whose crystal does
     * not start runs on it. */
    register_write(CLOCK_HFCLK_STARTED, 0);
    register_write(CLOCK_HFCLK_START, 1);
    (void)register_becomes(CLOCK_HFCLK_STARTED, 1, 1);

    register_write(GPIO(SYNAPCC_TX_PIN) + GPIO_OUTSET, 1u << (SYNAPCC_TX_PIN % 32u)); /* idle before it is an output */
    register_write(GPIO(SYNAPCC_TX_PIN) + GPIO_PIN_CNF + 4u * (SYNAPCC_TX_PIN % 32u), PIN_OUTPUT);
    register_write(GPIO(SYNAPCC_RX_PIN) + GPIO_PIN_CNF + 4u * (SYNAPCC_RX_PIN % 32u), PIN_INPUT_PULLED_UP);
    uart_write(UART_TX_PIN, SYNAPCC_TX_PIN);
    uart_write(UART_RX_PIN, SYNAPCC_RX_PIN);
    uart_write(UART_BAUD_RATE, BAUD_RATE);
    uart_write(UART_CONFIG, CONFIG_8N1);
    uart_write(UART_ENABLE, ENABLED);
    uart_write(UART_RX_READY, 0);
    uart_write(UART_START_RX, 1);
    uart_write(UART_START_TX, 1);
}

uint8_t hal_rx(void)
{
    while (uart_read(UART_RX_READY) == 0)
        hal_pet();
    uart_write(UART_RX_READY, 0); /* before the byte is taken: the one behind it raises the event again */
    if ((uart_read(UART_ERROR_SOURCE) & ERROR_OVERRUN) != 0) {
        link_errors++;
        uart_write(UART_ERROR_SOURCE, ERROR_OVERRUN); /* writing one clears it */
    }
    return (uint8_t)uart_read(UART_RX_DATA);
}

/* The event only tells that a byte has left, never that there is room for the first: so each is waited for behind, not before, it. */
void hal_tx(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uart_write(UART_TX_READY, 0);
        uart_write(UART_TX_DATA, bytes[i]);
        while (uart_read(UART_TX_READY) == 0) {
        }
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
    register_write(WDT_RELOAD, WDT_RELOAD_KEY); /* of channel 0, the one that a boot loader most likely uses */
}

void hal_reset(void)
{
    chip_reset();
}

uintptr_t hal_kept(uint32_t bytes)
{
    return chip_kept(bytes);
}
