/* What the tests need of Preferences.h of Arduino for the ESP32, 3.0. */
#ifndef PREFERENCES_H
#define PREFERENCES_H

#include <stddef.h>

class Preferences {
public:
    bool remove(const char *key);
    size_t putBytes(const char *key, const void *value, size_t len);
    bool isKey(const char *key);
    size_t getBytesLength(const char *key);
    size_t getBytes(const char *key, void *buf, size_t maxLen);
};

#endif
