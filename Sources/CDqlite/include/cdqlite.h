#pragma once
#include <dqlite.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

// ppoll(2) on one descriptor, which Swift's Glibc overlay leaves out (it needs _GNU_SOURCE): 1 when it is ready or
// broken, 0 when the time has passed, -1 with errno.
int cdqlite_wait(int descriptor, short events, int64_t nanoseconds);

// What SQL may do in this process, on every connection that is opened from now on; libdqlite runs all of it on its only thread,
// where an endless statement would cost the node its leadership. Extensions and tokenizers cannot be registered, the schema is
// not trusted to call functions, SQLite's own structures cannot be written, and a statement that has used `milliseconds` of
// the thread's time fails with SQLITE_INTERRUPT. All of SQLite together gets `heap` bytes. Both are those of the last call. Returns an
// SQLite result code.
//
// On top of that a connection can be made one of a reader for good, by `SELECT dqlite_vip_reader()`: see cdqlite_make_reader.
int cdqlite_guard_sql(int64_t milliseconds, int64_t heap);

// The tables that a reader may read, and the functions that it may call; names in lower case, each list ended by NULL. The
// strings must live as long as the process. To be called before the first reader connects, once.
void cdqlite_set_reader_lists(const char *const *tables, const char *const *functions);

// Makes a connection that was opened under `cdqlite_guard_sql` one of a reader: SQLite's authorizer lets nothing pass but SELECT on
// the tables and with the functions of the lists, texts and blobs have 64 KiB at most, and a statement gets 5 ms of the thread's
// time. There is no way back. Returns an SQLite result code; SQLITE_MISUSE for a connection that is not guarded.
int cdqlite_make_reader(sqlite3 *connection);

// libraft's checksum of what it writes to disk: CRC-32 with the polynomial 0x04c11db7, most significant bit first, begun with
// 0 and not inverted at the end.
uint32_t cdqlite_crc32(const void *bytes, size_t count);

// How many bytes there are up to and with the last one that is not zero; 0 when all are.
size_t cdqlite_significant(const void *bytes, size_t count);
