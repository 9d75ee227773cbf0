#include "../uart.h"

#define REG(offset) (*(volatile uint32_t *)(uintptr_t)(SYNAPCC_UART_BASE + (offset)))

void uart_init(void)
{
    REG(0x10) = 16;
    REG(0x08) = 3;
}

uint8_t uart_get(void)
{
    while ((REG(4) & 2u) == 0) { }
    return (uint8_t)REG(0);
}

void uart_put(uint8_t byte)
{
    while ((REG(4) & 1u) != 0) { }
    REG(0) = byte;
    __asm volatile("" ::: "memory");
}
