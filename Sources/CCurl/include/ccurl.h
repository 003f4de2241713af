// libcurl's multi interface as Swift can import it: no variadic functions, no macros; see libcurl-multi(3).
//
// No header of libcurl or libc is included: curl.h needs fd_set, whose members glibc names otherwise with _GNU_SOURCE than
// without, and clang refuses a program whose modules disagree. ccurl.c asserts that the numbers here are libcurl's.
#pragma once
#include <stddef.h>

// CURLoption; see curl_easy_setopt(3).
enum ccurl_option {
    ccurl_proxy = 10004,
    ccurl_error_buffer = 10010,
    ccurl_url = 10002,
    ccurl_http_header = 10023,
    ccurl_certificate_file = 10025,
    ccurl_key_password = 10026,
    ccurl_tls_version = 32,
    ccurl_custom_request = 10036,
    ccurl_no_body = 44,
    ccurl_follow_location = 52,
    ccurl_post_field_size = 60,
    ccurl_verify_peer = 64,
    ccurl_authorities_file = 10065,
    ccurl_verify_host = 81,
    ccurl_http_version = 84,
    ccurl_key_file = 10087,
    ccurl_authorities_directory = 10097,
    ccurl_no_signal = 99,
    ccurl_timeout_ms = 155,
    ccurl_connect_timeout_ms = 156,
    ccurl_copy_post_fields = 10165,
    ccurl_username = 10173,
    ccurl_password = 10174,
    ccurl_no_proxy = 10177,
    ccurl_unix_socket = 10231,
    ccurl_connect_to = 10243,
    ccurl_certificate_blob = 40291,
    ccurl_key_blob = 40292,
    ccurl_authorities_blob = 40309,
    ccurl_protocols = 10318,
    ccurl_authorities_cache_seconds = 321,
    ccurl_quick_exit = 322,
};

// CURLMoption; see curl_multi_setopt(3).
enum ccurl_multi_option {
    ccurl_multi_max_connects = 6,
};

enum ccurl_value {
    ccurl_http_1_1 = 2,
    ccurl_tls_1_2 = 6,
};

// CURLcode, as far as somebody tells them apart; see libcurl-errors(3).
enum ccurl_code {
    ccurl_ok = 0,
    ccurl_unsupported_protocol = 1,
    ccurl_failed_init = 2,
    ccurl_url_malformed = 3,
    ccurl_could_not_resolve_proxy = 5,
    ccurl_could_not_resolve_host = 6,
    ccurl_could_not_connect = 7,
    ccurl_weird_server_reply = 8,
    ccurl_partial_file = 18,
    ccurl_write_error = 23,
    ccurl_operation_timed_out = 28,
    ccurl_ssl_connect_error = 35,
    ccurl_unknown_option = 48,
    ccurl_got_nothing = 52,
    ccurl_send_error = 55,
    ccurl_recv_error = 56,
    ccurl_ssl_cert_problem = 58,
    ccurl_ssl_cipher = 59,
    ccurl_peer_failed_verification = 60,
    ccurl_bad_content_encoding = 61,
    ccurl_ssl_ca_bad_file = 77,
    ccurl_proxy_error = 97,
};

// Once per process, before anything else, in one thread.
int ccurl_global_init(void);

// NULL when there is no memory.
void *ccurl_init(void);
void ccurl_cleanup(void *handle);

int ccurl_set_long(void *handle, enum ccurl_option option, long value);
// Copies the text; NULL takes a default away.
int ccurl_set_text(void *handle, enum ccurl_option option, const char *text);
// Copies as many bytes as ccurl_post_field_size said before.
int ccurl_set_bytes(void *handle, enum ccurl_option option, const void *bytes);
// Copies the bytes.
int ccurl_set_blob(void *handle, enum ccurl_option option, const void *bytes, size_t count);
// Does not copy the list.
int ccurl_set_list(void *handle, enum ccurl_option option, void *list);
// At least ccurl_error_size bytes, which are written to until the handle is cleaned up.
int ccurl_set_error_buffer(void *handle, char *buffer);
enum { ccurl_error_size = 256 };

// Called with each part of the answer, size × count bytes; whatever else it returns ends the transfer with
// ccurl_write_error.
typedef size_t (*ccurl_write_function)(char *bytes, size_t size, size_t count, void *context);
int ccurl_set_write_function(void *handle, ccurl_write_function function, void *context);

// Appends a copy of the text, to NULL for a new list. NULL when there is no memory; the old list is then still there.
void *ccurl_list_append(void *list, const char *text);
void ccurl_list_free(void *list);

// The status of HTTP; 0 when there was no answer.
long ccurl_status(void *handle);
// The errno of the last connection attempt; 0 when there was none.
long ccurl_errno(void *handle);
const char *ccurl_text(int code);

// Transfers side by side. The functions return a CURLMcode, 0 for success; all but ccurl_multi_wakeup are called by one
// thread.
void *ccurl_multi_init(void);
int ccurl_multi_cleanup(void *multi);
int ccurl_multi_set_long(void *multi, enum ccurl_multi_option option, long value);
int ccurl_multi_add(void *multi, void *handle);
int ccurl_multi_remove(void *multi, void *handle);
// Does what can be done without waiting.
int ccurl_multi_perform(void *multi);
// Waits for something to do, or a wake-up, at most so many milliseconds.
int ccurl_multi_poll(void *multi, int milliseconds);
// Ends the present or the next ccurl_multi_poll. Any thread may call it.
int ccurl_multi_wakeup(void *multi);
// A transfer that is done, and its ccurl_code; NULL when there is no further one.
void *ccurl_multi_next_done(void *multi, int *code);
const char *ccurl_multi_text(int code);

// CURLUPart; see libcurl-url(3).
enum ccurl_url_part {
    ccurl_url_whole = 0,
    ccurl_url_host = 5,
    ccurl_url_port = 6,
};

// NULL when there is no memory, or the text is no URL.
void *ccurl_url_parse(const char *text);
void ccurl_url_free(void *url);
// 0 for success.
int ccurl_url_set(void *url, enum ccurl_url_part part, const char *text);
// NULL when it has none; freed by ccurl_free.
char *ccurl_url_get(void *url, enum ccurl_url_part part);
void ccurl_free(void *text);
