/* HAL for the USARTs of STM32L4, polled. The chip wakes up on an oscillator of 4 MHz and is put on the internal one of 16 MHz, the
 * fastest that the flash needs no wait states for. */
#include "hal.h"

#include "chip.h"

#ifndef SYNAPCC_UART_BASE
#error "define SYNAPCC_UART_BASE: the address of a USART"
#endif
#ifndef SYNAPCC_BAUD
#define SYNAPCC_BAUD 115200u
#endif
#if !defined(SYNAPCC_TX_PIN) || !defined(SYNAPCC_RX_PIN)
#error "define SYNAPCC_TX_PIN and SYNAPCC_RX_PIN: 16 to a port, PA2 is 2 and PB3 is 19"
#endif
#if SYNAPCC_CLOCK_HZ != 16000000 || SYNAPCC_UART_CLOCK_HZ != 16000000
#error "this HAL puts the chip on its internal oscillator: clock_hz = 16_000_000"
#endif

#define BAUD_DIVIDER(clock) (((clock) + SYNAPCC_BAUD / 2u) / SYNAPCC_BAUD)
#if BAUD_DIVIDER(4000000u) < 16
#error "SYNAPCC_BAUD is too fast: 250000 is the most"
#endif

#define RCC_CR 0x40021000u
#define RCC_CFGR 0x40021008u
#define RCC_AHB2ENR 0x4002104Cu /* one bit a GPIO port */
#define RCC_APB1ENR1 0x40021058u
#define RCC_APB2ENR 0x40021060u
enum { CR_HSI16_ON = 1 << 8, CR_HSI16_READY = 1 << 10 };
enum { CFGR_SWITCH = 3, CFGR_SWITCH_HSI16 = 1, CFGR_STATUS = 3 << 2, CFGR_STATUS_HSI16 = 1 << 2 };

#define USART1 0x40013800u
#define USART2 0x40004400u /* then USART3, UART4 and UART5, 0x400 apart */
#define UART4 0x40004C00u
#define ON_APB2 (SYNAPCC_UART_BASE == USART1)
#if ON_APB2
#define CLOCK_BIT 14u
#define ALTERNATE 7u
#else
#define CLOCK_BIT (17u + (SYNAPCC_UART_BASE - USART2) / 0x400u)
#define ALTERNATE (SYNAPCC_UART_BASE < UART4 ? 7u : 8u)
#endif

#define GPIO 0x48000000u /* port A; the next ones 0x400 apart */
enum { GPIO_MODER = 0x00, GPIO_PUPDR = 0x0C, GPIO_AFR = 0x20 };
enum { MODE_ALTERNATE = 2, PULL_NONE = 0, PULL_UP = 1 };

enum { USART_CR1 = 0x00, USART_BRR = 0x0C, USART_ISR = 0x1C, USART_ICR = 0x20, USART_RDR = 0x24, USART_TDR = 0x28 };
enum { ISR_OVERRUN = 1 << 3, ISR_RX_FULL = 1 << 5, ISR_TX_EMPTY = 1 << 7 };
enum { CR1_ENABLE = 1 << 0, CR1_RX_ENABLE = 1 << 2, CR1_TX_ENABLE = 1 << 3 };

#define IWDG_KR 0x40003000u /* the independent watchdog, which option bytes may start */
#define IWDG_RELOAD 0xAAAAu

static uint32_t link_errors;

static uint32_t uart_read(uint32_t offset)
{
    return register_read(SYNAPCC_UART_BASE + offset);
}

static void uart_write(uint32_t offset, uint32_t value)
{
    register_write(SYNAPCC_UART_BASE + offset, value);
}

static void pin_init(uint32_t pin, uint32_t pull)
{
    const uint32_t port = GPIO + 0x400u * (pin / 16u), bit = pin % 16u;

    register_change(RCC_AHB2ENR, 0, 1u << (pin / 16u));
    (void)register_read(RCC_AHB2ENR); /* the clock runs two cycles after the write */
    register_change(port + GPIO_AFR + 4u * (bit / 8u), 15u << (4u * (bit % 8u)), ALTERNATE << (4u * (bit % 8u)));
    register_change(port + GPIO_PUPDR, 3u << (2u * bit), pull << (2u * bit));
    register_change(port + GPIO_MODER, 3u << (2u * bit), (uint32_t)MODE_ALTERNATE << (2u * bit));
}

/* Whether the chip now runs at 16 MHz. Where the oscillator does not start it stays on the one of 4 MHz, and the link works all the
 * same. */
static bool clock_init(void)
{
    register_change(RCC_CR, 0, CR_HSI16_ON);
    if (!register_becomes(RCC_CR, CR_HSI16_READY, CR_HSI16_READY))
        return false;
    register_change(RCC_CFGR, CFGR_SWITCH, CFGR_SWITCH_HSI16);
    return register_becomes(RCC_CFGR, CFGR_STATUS, CFGR_STATUS_HSI16);
}

void hal_init(void)
{
    const bool fast = clock_init();

    link_errors = 0;
    pin_init(SYNAPCC_TX_PIN, PULL_NONE);
    pin_init(SYNAPCC_RX_PIN, PULL_UP); /* an open line is an idle line */
    register_change(ON_APB2 ? RCC_APB2ENR : RCC_APB1ENR1, 0, 1u << CLOCK_BIT);
    (void)register_read(ON_APB2 ? RCC_APB2ENR : RCC_APB1ENR1);
    uart_write(USART_CR1, 0);
    uart_write(USART_BRR, fast ? BAUD_DIVIDER(16000000u) : BAUD_DIVIDER(4000000u));
    uart_write(USART_CR1, CR1_ENABLE | CR1_TX_ENABLE | CR1_RX_ENABLE);
}

uint8_t hal_rx(void)
{
    uint32_t state;

    do {
        hal_pet();
        state = uart_read(USART_ISR);
    } while ((state & ISR_RX_FULL) == 0);
    if ((state & ISR_OVERRUN) != 0) {
        link_errors++;
        uart_write(USART_ICR, ISR_OVERRUN);
    }
    return (uint8_t)uart_read(USART_RDR);
}

void hal_tx(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while ((uart_read(USART_ISR) & ISR_TX_EMPTY) == 0) {
        }
        uart_write(USART_TDR, bytes[i]);
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
    register_write(IWDG_KR, IWDG_RELOAD);
}

void hal_reset(void)
{
    chip_reset();
}

uintptr_t hal_kept(uint32_t bytes)
{
    return chip_kept(bytes);
}
