#define _GNU_SOURCE 1
#include "cdqlite.h"
#include <poll.h>
#include <stddef.h>
#include <time.h>

int cdqlite_wait(int descriptor, short events, int64_t nanoseconds) {
    struct pollfd entry = {.fd = descriptor, .events = events};
    struct timespec limit = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return ppoll(&entry, 1, &limit, NULL);
}
