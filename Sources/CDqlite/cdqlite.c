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

static int64_t statement_limit;

// One per connection. SQLite calls the handler every so many instructions while a statement runs and does not say when
// one begins: a pause between two calls means that it is another one.
struct progress {
    int64_t begun;
    int64_t last;
};

static int64_t now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int note_progress(void *argument) {
    struct progress *progress = argument;
    int64_t now = now_ms();
    // 20,000 instructions take a millisecond or two; on a starved machine longer, which only lengthens the limit.
    if (now - progress->last > 20) progress->begun = now;
    progress->last = now;
    if (now - progress->begun < statement_limit) return 0;
    progress->last = 0;
    return 1;
}

static void limit_function(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count;
    (void)values;
    sqlite3_result_int64(context, statement_limit);
}

static int limit_connection(sqlite3 *connection, const char **message, const void *api) {
    (void)message;
    (void)api;
    struct progress *progress = sqlite3_malloc(sizeof *progress);
    if (progress == NULL) return SQLITE_NOMEM;
    progress->begun = progress->last = 0;
    // A function of that name does nothing; it is there because its end is that of the connection, which SQLite tells in
    // no other way.
    int code = sqlite3_create_function_v2(
        connection, "dqlite_statement_limit", 0, SQLITE_UTF8, progress, limit_function, NULL, NULL, sqlite3_free);
    if (code == SQLITE_OK) sqlite3_progress_handler(connection, 20000, note_progress, progress);
    return code;
}

int cdqlite_limit_statements(int64_t milliseconds) {
    statement_limit = milliseconds;
    return sqlite3_auto_extension((void (*)(void))limit_connection);
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
