#pragma once
#include <dqlite.h>
#include <stdint.h>

// ppoll(2) on one descriptor, which Swift's Glibc overlay leaves out (it needs _GNU_SOURCE): 1 when it is ready or
// broken, 0 when the time has passed, -1 with errno.
int cdqlite_wait(int descriptor, short events, int64_t nanoseconds);
