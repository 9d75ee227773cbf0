/* What the emitted sketch uses of an Arduino core. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>

void delay(unsigned long ms);

class SerialStub
{
  public:
    void begin(unsigned long baud);
    size_t print(const char *text);
    size_t print(long value);
    size_t println(const char *text);
};
extern SerialStub Serial;

void setup();
void loop();

#endif
