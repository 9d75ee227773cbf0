#include "hal/hal.h"
#include "server.h"
#include "stack.h"

int main(void)
{
    stack_paint();
    hal_init();
    server_start();
    for (;;)
        server_receive(hal_rx());
}
