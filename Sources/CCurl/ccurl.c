#include "ccurl.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
SAME(ccurl_url, CURLOPT_URL);
SAME(ccurl_custom_request, CURLOPT_CUSTOMREQUEST);
SAME(ccurl_http_header, CURLOPT_HTTPHEADER);
SAME(ccurl_copy_post_fields, CURLOPT_COPYPOSTFIELDS);
SAME(ccurl_post_field_size, CURLOPT_POSTFIELDSIZE);
SAME(ccurl_protocols, CURLOPT_PROTOCOLS_STR);
SAME(ccurl_no_proxy, CURLOPT_NOPROXY);
SAME(ccurl_follow_location, CURLOPT_FOLLOWLOCATION);
SAME(ccurl_no_signal, CURLOPT_NOSIGNAL);
SAME(ccurl_connect_timeout_ms, CURLOPT_CONNECTTIMEOUT_MS);
SAME(ccurl_timeout_ms, CURLOPT_TIMEOUT_MS);
SAME(ccurl_ok, CURLE_OK);
SAME(ccurl_unsupported_protocol, CURLE_UNSUPPORTED_PROTOCOL);
SAME(ccurl_failed_init, CURLE_FAILED_INIT);
SAME(ccurl_could_not_resolve_host, CURLE_COULDNT_RESOLVE_HOST);
SAME(ccurl_could_not_connect, CURLE_COULDNT_CONNECT);
SAME(ccurl_weird_server_reply, CURLE_WEIRD_SERVER_REPLY);
SAME(ccurl_write_error, CURLE_WRITE_ERROR);
SAME(ccurl_operation_timed_out, CURLE_OPERATION_TIMEDOUT);
SAME(ccurl_got_nothing, CURLE_GOT_NOTHING);
SAME(ccurl_send_error, CURLE_SEND_ERROR);
SAME(ccurl_recv_error, CURLE_RECV_ERROR);

// libcurl is loaded when it is first needed and not at start: it brings some thirty libraries along, five megabytes of
// resident memory in each process, and most daemons and every guard live without it.
static struct {
    CURLcode (*global_init)(long);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *);
    CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
    CURLcode (*easy_perform)(CURL *);
    CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
    struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
    void (*slist_free_all)(struct curl_slist *);
    const char *(*easy_strerror)(CURLcode);
} curl;
static pthread_once_t loading = PTHREAD_ONCE_INIT;
static int is_loaded;

static void load(void) {
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    is_loaded = 1;
#define LOAD(name)                                                              \
    do {                                                                        \
        *(void **)&curl.name = dlsym(library, "curl_" #name);                   \
        if (curl.name == NULL) is_loaded = 0;                                   \
    } while (0)
    LOAD(global_init);
    LOAD(easy_init);
    LOAD(easy_cleanup);
    LOAD(easy_setopt);
    LOAD(easy_perform);
    LOAD(easy_getinfo);
    LOAD(slist_append);
    LOAD(slist_free_all);
    LOAD(easy_strerror);
}

int ccurl_global_init(void) {
    pthread_once(&loading, load);
    return is_loaded ? curl.global_init(CURL_GLOBAL_DEFAULT) : CURLE_FAILED_INIT;
}

void *ccurl_init(void) { return is_loaded ? curl.easy_init() : NULL; }
void ccurl_cleanup(void *handle) { curl.easy_cleanup(handle); }

int ccurl_set_long(void *handle, enum ccurl_option option, long value) {
    return curl.easy_setopt(handle, (CURLoption)option, value);
}

int ccurl_set_text(void *handle, enum ccurl_option option, const char *text) {
    return curl.easy_setopt(handle, (CURLoption)option, text);
}

int ccurl_set_bytes(void *handle, enum ccurl_option option, const void *bytes) {
    return curl.easy_setopt(handle, (CURLoption)option, bytes);
}

int ccurl_set_list(void *handle, enum ccurl_option option, void *list) {
    return curl.easy_setopt(handle, (CURLoption)option, list);
}

int ccurl_set_write_function(void *handle, ccurl_write_function function, void *context) {
    CURLcode code = curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, function);
    return code != CURLE_OK ? code : curl.easy_setopt(handle, CURLOPT_WRITEDATA, context);
}

void *ccurl_list_append(void *list, const char *text) { return curl.slist_append(list, text); }
void ccurl_list_free(void *list) { curl.slist_free_all(list); }

int ccurl_perform(void *handle) { return curl.easy_perform(handle); }

long ccurl_status(void *handle) {
    long status = 0;
    curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

long ccurl_errno(void *handle) {
    long number = 0;
    curl.easy_getinfo(handle, CURLINFO_OS_ERRNO, &number);
    return number;
}

const char *ccurl_text(int code) {
    return is_loaded ? curl.easy_strerror((CURLcode)code) : "libcurl.so.4 cannot be loaded: install the package libcurl4";
}
