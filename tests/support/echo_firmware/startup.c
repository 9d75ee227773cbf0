#include <stdint.h>

extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;
int main(void);
void Reset_Handler(void);
static void Default_Handler(void) { for (;;) { } }

typedef void (*handler_t)(void);
__attribute__((section(".isr_vector"), used)) const handler_t vectors[16] = {
    [0] = (handler_t)(uintptr_t)&_estack, [1] = Reset_Handler, [2 ... 15] = Default_Handler,
};

void Reset_Handler(void)
{
    const uint32_t *from = &_sidata;
    for (uint32_t *to = &_sdata; to < &_edata;) *to++ = *from++;
    for (uint32_t *to = &_sbss; to < &_ebss;) *to++ = 0;
    (void)main();
    for (;;) { }
}
