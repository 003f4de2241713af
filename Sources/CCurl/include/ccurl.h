// libcurl's easy interface as Swift can import it: no variadic functions, no macros; see libcurl-easy(3).
//
// No header of libcurl or libc is included: curl.h needs fd_set, whose members glibc names otherwise with _GNU_SOURCE than
// without, and clang refuses a program whose modules disagree. ccurl.c asserts that the numbers here are libcurl's.
#pragma once
#include <stddef.h>

// CURLoption; see curl_easy_setopt(3).
enum ccurl_option {
    ccurl_url = 10002,
    ccurl_custom_request = 10036,
    ccurl_http_header = 10023,
    ccurl_copy_post_fields = 10165,
    ccurl_post_field_size = 60,
    ccurl_protocols = 10318,
    ccurl_no_proxy = 10177,
    ccurl_follow_location = 52,
    ccurl_no_signal = 99,
    ccurl_connect_timeout_ms = 156,
    ccurl_timeout_ms = 155,
};

// CURLcode, as far as somebody tells them apart; see libcurl-errors(3).
enum ccurl_code {
    ccurl_ok = 0,
    ccurl_unsupported_protocol = 1,
    ccurl_failed_init = 2,
    ccurl_could_not_resolve_host = 6,
    ccurl_could_not_connect = 7,
    ccurl_weird_server_reply = 8,
    ccurl_write_error = 23,
    ccurl_operation_timed_out = 28,
    ccurl_got_nothing = 52,
    ccurl_send_error = 55,
    ccurl_recv_error = 56,
};

// Once per process, before anything else, in one thread.
int ccurl_global_init(void);

// NULL when there is no memory.
void *ccurl_init(void);
void ccurl_cleanup(void *handle);

int ccurl_set_long(void *handle, enum ccurl_option option, long value);
// Copies the text.
int ccurl_set_text(void *handle, enum ccurl_option option, const char *text);
// Copies as many bytes as ccurl_post_field_size said before.
int ccurl_set_bytes(void *handle, enum ccurl_option option, const void *bytes);
// Does not copy the list.
int ccurl_set_list(void *handle, enum ccurl_option option, void *list);

// Called with each part of the answer, size × count bytes; whatever else it returns ends the transfer with
// ccurl_write_error.
typedef size_t (*ccurl_write_function)(char *bytes, size_t size, size_t count, void *context);
int ccurl_set_write_function(void *handle, ccurl_write_function function, void *context);

// Appends a copy of the text, to NULL for a new list. NULL when there is no memory; the old list is then still there.
void *ccurl_list_append(void *list, const char *text);
void ccurl_list_free(void *list);

// Blocks until the transfer is done.
int ccurl_perform(void *handle);
// The status of HTTP; 0 when there was no answer.
long ccurl_status(void *handle);
// The errno of the last connection attempt; 0 when there was none.
long ccurl_errno(void *handle);
const char *ccurl_text(int code);
