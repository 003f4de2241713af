#define _GNU_SOURCE 1
#include "cdqlite.h"
#include <stddef.h>
#include <strings.h>
#include <time.h>

// How many instructions of SQLite's machine run between two looks at the clock: some tenths of a millisecond.
enum { INSTRUCTIONS_PER_LOOK = 2000 };
// What one statement of a reader may use of libdqlite's only thread. A look-up in our tables takes a tenth of that.
enum { READER_MILLISECONDS = 5 };
// No text that a reader makes is longer. A single instruction, which nothing can interrupt, then takes microseconds.
enum { READER_LENGTH = 64 << 10 };

static int64_t statement_limit;
static const char *const *reader_tables;
static const char *const *reader_functions;

// One per connection. It lives as long as the connection does, as the argument of a function of its own: SQLite tells the end of
// a connection in no other way.
struct guarded {
    // The thread's time when the statement in hand began.
    int64_t begun;
    int is_reader;
};

static const char reader_function[] = "dqlite_vip_reader";

// The time that this thread has worked: one that has to wait for the processor does not cost anybody else.
static int64_t thread_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int statement_begins(unsigned kind, void *argument, void *statement, void *text) {
    (void)kind, (void)statement, (void)text;
    ((struct guarded *)argument)->begun = thread_ms();
    return 0;
}

static int statement_goes_on(void *argument) {
    const struct guarded *guarded = argument;
    return thread_ms() - guarded->begun >= (guarded->is_reader ? READER_MILLISECONDS : statement_limit);
}

static int is_listed(const char *name, const char *const *list) {
    if (name == NULL || list == NULL) return 0;
    for (; *list != NULL; list++) {
        if (strcasecmp(name, *list) == 0) return 1;
    }
    return 0;
}

// SQLite asks while it compiles a statement (sqlite3_set_authorizer). What is not named here is refused: whatever a later version
// of SQLite can do is, too.
static int authorize(
    void *argument, int action, const char *first, const char *second, const char *database, const char *inside) {
    (void)inside;
    const struct guarded *guarded = argument;
    if (!guarded->is_reader) return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT: return SQLITE_OK;
    case SQLITE_FUNCTION: return is_listed(second, reader_functions) ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_READ:
        if (database != NULL && strcasecmp(database, "main") != 0) return SQLITE_DENY;
        return is_listed(first, reader_tables) ? SQLITE_OK : SQLITE_DENY;
    default: return SQLITE_DENY;
    }
}

static void restrict_to_reading(sqlite3 *connection, struct guarded *guarded) {
    guarded->is_reader = 1;
    const struct {
        int what, limit;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, READER_LENGTH},    {SQLITE_LIMIT_SQL_LENGTH, READER_LENGTH},
        {SQLITE_LIMIT_COLUMN, 64},               {SQLITE_LIMIT_EXPR_DEPTH, 50},
        {SQLITE_LIMIT_COMPOUND_SELECT, 10},      {SQLITE_LIMIT_VDBE_OP, 25000},
        {SQLITE_LIMIT_FUNCTION_ARG, 8},          {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100}, {SQLITE_LIMIT_VARIABLE_NUMBER, 256},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 0},         {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    for (size_t index = 0; index < sizeof limits / sizeof *limits; index++) {
        sqlite3_limit(connection, limits[index].what, limits[index].limit);
    }
}

static void make_reader(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)count, (void)values;
    restrict_to_reading(sqlite3_context_db_handle(context), sqlite3_user_data(context));
    sqlite3_result_int(context, 1);
}

// Switched off on every connection. What this SQLite does not know it cannot do either: its answer is not looked at.
static void harden(sqlite3 *connection) {
    const struct {
        int what, value;
    } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},           {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0}, {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},      {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},             {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    for (size_t index = 0; index < sizeof settings / sizeof *settings; index++) {
        sqlite3_db_config(connection, settings[index].what, settings[index].value, NULL);
    }
}

static int guard_connection(sqlite3 *connection, const char **message, const void *api) {
    (void)message, (void)api;
    struct guarded *guarded = sqlite3_malloc(sizeof *guarded);
    if (guarded == NULL) return SQLITE_NOMEM;
    *guarded = (struct guarded){.begun = 0, .is_reader = 0};
    harden(connection);
    // SQLite frees the argument itself when this fails.
    int code = sqlite3_create_function_v2(
        connection, reader_function, 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, guarded, make_reader, NULL, NULL, sqlite3_free);
    if (code != SQLITE_OK) return code;
    code = sqlite3_set_authorizer(connection, authorize, guarded);
    if (code != SQLITE_OK) return code;
    code = sqlite3_trace_v2(connection, SQLITE_TRACE_STMT, statement_begins, guarded);
    if (code != SQLITE_OK) return code;
    sqlite3_progress_handler(connection, INSTRUCTIONS_PER_LOOK, statement_goes_on, guarded);
    return SQLITE_OK;
}

int cdqlite_guard_sql(int64_t milliseconds, int64_t heap) {
    statement_limit = milliseconds;
    sqlite3_hard_heap_limit64(heap);
    return sqlite3_auto_extension((void (*)(void))guard_connection);
}

void cdqlite_set_reader_lists(const char *const *tables, const char *const *functions) {
    reader_tables = tables;
    reader_functions = functions;
}

int cdqlite_make_reader(sqlite3 *connection) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection, "SELECT dqlite_vip_reader()", -1, &statement, NULL);
    if (code != SQLITE_OK) return SQLITE_MISUSE;
    code = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : SQLITE_MISUSE;
}
