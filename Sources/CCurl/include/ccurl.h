// libcurl's easy interface without its variadic functions and macros, which Swift cannot import; see libcurl-easy(3).
#pragma once
// As in CLinux: the shared structs of libc must look alike in all modules of C.
#define _GNU_SOURCE 1
#include <curl/curl.h>

static inline CURLcode ccurl_set_long(CURL *handle, CURLoption option, long value) {
    return (curl_easy_setopt)(handle, option, value);
}

// Takes objects and texts; libcurl copies texts, but not lists and not the data of callbacks.
static inline CURLcode ccurl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return (curl_easy_setopt)(handle, option, value);
}

typedef size_t (*ccurl_write_function)(char *bytes, size_t one, size_t count, void *context);

static inline CURLcode ccurl_set_write_function(CURL *handle, ccurl_write_function function, void *context) {
    CURLcode code = (curl_easy_setopt)(handle, CURLOPT_WRITEFUNCTION, function);
    return code != CURLE_OK ? code : (curl_easy_setopt)(handle, CURLOPT_WRITEDATA, context);
}

static inline CURLcode ccurl_get_long(CURL *handle, CURLINFO info, long *value) {
    return (curl_easy_getinfo)(handle, info, value);
}
