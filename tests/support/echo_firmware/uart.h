#include <stdint.h>
void uart_init(void);
uint8_t uart_get(void);
void uart_put(uint8_t byte);
