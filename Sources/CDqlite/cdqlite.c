#define _GNU_SOURCE 1
#include "cdqlite.h"
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

int cdqlite_wait(int descriptor, short events, int64_t nanoseconds) {
    struct pollfd entry = {.fd = descriptor, .events = events};
    struct timespec limit = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return ppoll(&entry, 1, &limit, NULL);
}

uint32_t cdqlite_crc32(const void *bytes, size_t count) {
    // Made anew for each call: 256 steps of eight, which is nothing beside the segments it is used on.
    uint32_t table[256];
    for (uint32_t index = 0; index < 256; index++) {
        uint32_t value = index << 24;
        for (int bit = 0; bit < 8; bit++) value = value & 0x80000000 ? value << 1 ^ 0x04c11db7 : value << 1;
        table[index] = value;
    }
    const uint8_t *cursor = bytes;
    uint32_t sum = 0;
    while (count-- > 0) sum = sum << 8 ^ table[sum >> 24 ^ *cursor++];
    return sum;
}

size_t cdqlite_significant(const void *bytes, size_t count) {
    const uint8_t *first = bytes;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, first + count - 8, 8);
        if (word != 0) break;
        count -= 8;
    }
    while (count > 0 && first[count - 1] == 0) count--;
    return count;
}
