#pragma once
#include <dqlite.h>
#include <stddef.h>
#include <stdint.h>

// ppoll(2) on one descriptor, which Swift's Glibc overlay leaves out (it needs _GNU_SOURCE): 1 when it is ready or
// broken, 0 when the time has passed, -1 with errno.
int cdqlite_wait(int descriptor, short events, int64_t nanoseconds);

// Limits how long one SQL statement may run without pause on any connection that is opened from now on in this process:
// beyond it the statement fails with SQLITE_INTERRUPT. libdqlite runs statements on its only thread, so that one endless
// SELECT would cost the node its leadership. Returns an SQLite result code. See sqlite3_progress_handler.
int cdqlite_limit_statements(int64_t milliseconds);

// libraft's checksum of what it writes to disk: CRC-32 with the polynomial 0x04c11db7, most significant bit first, begun with
// 0 and not inverted at the end.
uint32_t cdqlite_crc32(const void *bytes, size_t count);

// How many bytes there are up to and with the last one that is not zero; 0 when all are.
size_t cdqlite_significant(const void *bytes, size_t count);
