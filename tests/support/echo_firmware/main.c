/* One command a byte: 'p' pings, 'n' tells the board, 'e' echoes the next bytes backwards (their number first),
   'c' counts down from 1000 times the next byte and 'x' calls what src/extra.c brings, if anything.
   The others misbehave: 'w' writes where nothing is, 's' overflows the stack, 'l' loops for ever, 'z' sleeps. */
#include <stdint.h>
#include <string.h>

#include "echo.h"
#include "uart.h"

uint32_t extra(uint32_t x);

static uint32_t pings;
static uint8_t buffer[256];
typedef void (*command_t)(void);

static void ping(void)
{
    pings++;
    uart_put((uint8_t)pings);
}

static void board(void)
{
    for (const char *s = SYNAPCC_BOARD; *s != 0; s++) uart_put((uint8_t)*s);
    uart_put(SYNAPCC_CLOCK_HZ / 1000000u);
}

static void wild(void) { *(volatile uint32_t *)0x60000000u = 1; }

static void hang(void)
{
    for (;;) __asm volatile("" ::: "memory");
}

static void overflow(void)
{
    /* walks the stack pointer down by hand: recursion is what the stack analysis must not find here */
    __asm volatile("0: sub sp, #256\n\tstr r0, [sp]\n\tb 0b");
}

static void sleep(void) { __asm volatile("wfi"); }

static void count(void)
{
    uint32_t n = 1000u * uart_get();
    __asm volatile("0: subs %0, #1\n\tbne 0b" : "+l"(n) : : "cc");
    uart_put('c');
}

__attribute__((weak)) uint32_t extra(uint32_t x) { return x; }

static void call_extra(void) { uart_put((uint8_t)extra(uart_get())); }

static void echo(void)
{
    const uint32_t n = uart_get();
    for (uint32_t i = 0; i < n; i++) buffer[i] = uart_get();
    echo_reverse(buffer, n);
    for (uint32_t i = 0; i < n; i++) uart_put(buffer[i]);
}

static const struct { uint8_t letter; command_t run; } commands[] = {
    {'p', ping}, {'n', board}, {'w', wild}, {'l', hang}, {'s', overflow}, {'e', echo},
    {'c', count}, {'x', call_extra}, {'z', sleep},
};

int main(void)
{
    uart_init();
    for (;;) {
        const uint8_t letter = uart_get();
        for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
            if (commands[i].letter == letter) commands[i].run();
        }
    }
}
