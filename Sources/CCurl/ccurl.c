#include "ccurl.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
SAME(ccurl_proxy, CURLOPT_PROXY);
SAME(ccurl_error_buffer, CURLOPT_ERRORBUFFER);
SAME(ccurl_url, CURLOPT_URL);
SAME(ccurl_http_header, CURLOPT_HTTPHEADER);
SAME(ccurl_certificate_file, CURLOPT_SSLCERT);
SAME(ccurl_key_password, CURLOPT_KEYPASSWD);
SAME(ccurl_tls_version, CURLOPT_SSLVERSION);
SAME(ccurl_custom_request, CURLOPT_CUSTOMREQUEST);
SAME(ccurl_no_body, CURLOPT_NOBODY);
SAME(ccurl_follow_location, CURLOPT_FOLLOWLOCATION);
SAME(ccurl_post_field_size, CURLOPT_POSTFIELDSIZE);
SAME(ccurl_verify_peer, CURLOPT_SSL_VERIFYPEER);
SAME(ccurl_authorities_file, CURLOPT_CAINFO);
SAME(ccurl_verify_host, CURLOPT_SSL_VERIFYHOST);
SAME(ccurl_http_version, CURLOPT_HTTP_VERSION);
SAME(ccurl_key_file, CURLOPT_SSLKEY);
SAME(ccurl_authorities_directory, CURLOPT_CAPATH);
SAME(ccurl_no_signal, CURLOPT_NOSIGNAL);
SAME(ccurl_timeout_ms, CURLOPT_TIMEOUT_MS);
SAME(ccurl_connect_timeout_ms, CURLOPT_CONNECTTIMEOUT_MS);
SAME(ccurl_copy_post_fields, CURLOPT_COPYPOSTFIELDS);
SAME(ccurl_username, CURLOPT_USERNAME);
SAME(ccurl_password, CURLOPT_PASSWORD);
SAME(ccurl_no_proxy, CURLOPT_NOPROXY);
SAME(ccurl_unix_socket, CURLOPT_UNIX_SOCKET_PATH);
SAME(ccurl_connect_to, CURLOPT_CONNECT_TO);
SAME(ccurl_certificate_blob, CURLOPT_SSLCERT_BLOB);
SAME(ccurl_key_blob, CURLOPT_SSLKEY_BLOB);
SAME(ccurl_authorities_blob, CURLOPT_CAINFO_BLOB);
SAME(ccurl_protocols, CURLOPT_PROTOCOLS_STR);
SAME(ccurl_authorities_cache_seconds, CURLOPT_CA_CACHE_TIMEOUT);
SAME(ccurl_quick_exit, CURLOPT_QUICK_EXIT);
SAME(ccurl_multi_max_connects, CURLMOPT_MAXCONNECTS);
SAME(ccurl_http_1_1, CURL_HTTP_VERSION_1_1);
SAME(ccurl_tls_1_2, CURL_SSLVERSION_TLSv1_2);
SAME(ccurl_error_size, CURL_ERROR_SIZE);
SAME(ccurl_ok, CURLE_OK);
SAME(ccurl_unsupported_protocol, CURLE_UNSUPPORTED_PROTOCOL);
SAME(ccurl_failed_init, CURLE_FAILED_INIT);
SAME(ccurl_url_malformed, CURLE_URL_MALFORMAT);
SAME(ccurl_could_not_resolve_proxy, CURLE_COULDNT_RESOLVE_PROXY);
SAME(ccurl_could_not_resolve_host, CURLE_COULDNT_RESOLVE_HOST);
SAME(ccurl_could_not_connect, CURLE_COULDNT_CONNECT);
SAME(ccurl_weird_server_reply, CURLE_WEIRD_SERVER_REPLY);
SAME(ccurl_partial_file, CURLE_PARTIAL_FILE);
SAME(ccurl_write_error, CURLE_WRITE_ERROR);
SAME(ccurl_operation_timed_out, CURLE_OPERATION_TIMEDOUT);
SAME(ccurl_ssl_connect_error, CURLE_SSL_CONNECT_ERROR);
SAME(ccurl_unknown_option, CURLE_UNKNOWN_OPTION);
SAME(ccurl_got_nothing, CURLE_GOT_NOTHING);
SAME(ccurl_send_error, CURLE_SEND_ERROR);
SAME(ccurl_recv_error, CURLE_RECV_ERROR);
SAME(ccurl_ssl_cert_problem, CURLE_SSL_CERTPROBLEM);
SAME(ccurl_ssl_cipher, CURLE_SSL_CIPHER);
SAME(ccurl_peer_failed_verification, CURLE_PEER_FAILED_VERIFICATION);
SAME(ccurl_bad_content_encoding, CURLE_BAD_CONTENT_ENCODING);
SAME(ccurl_ssl_ca_bad_file, CURLE_SSL_CACERT_BADFILE);
SAME(ccurl_proxy_error, CURLE_PROXY);
SAME(ccurl_url_whole, CURLUPART_URL);
SAME(ccurl_url_host, CURLUPART_HOST);
SAME(ccurl_url_port, CURLUPART_PORT);

// libcurl is loaded when it is first needed and not at start: it brings some thirty libraries along, five megabytes of
// resident memory in each process, and most daemons and every guard live without it.
static struct {
    CURLcode (*global_init)(long);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *);
    CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
    CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
    const char *(*easy_strerror)(CURLcode);
    struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
    void (*slist_free_all)(struct curl_slist *);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *);
    CURLMcode (*multi_setopt)(CURLM *, CURLMoption, ...);
    CURLMcode (*multi_add_handle)(CURLM *, CURL *);
    CURLMcode (*multi_remove_handle)(CURLM *, CURL *);
    CURLMcode (*multi_perform)(CURLM *, int *);
    CURLMcode (*multi_poll)(CURLM *, struct curl_waitfd *, unsigned int, int, int *);
    CURLMcode (*multi_wakeup)(CURLM *);
    CURLMsg *(*multi_info_read)(CURLM *, int *);
    const char *(*multi_strerror)(CURLMcode);
    CURLU *(*url)(void);
    void (*url_cleanup)(CURLU *);
    CURLUcode (*url_set)(CURLU *, CURLUPart, const char *, unsigned int);
    CURLUcode (*url_get)(const CURLU *, CURLUPart, char **, unsigned int);
    void (*free)(void *);
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
    LOAD(easy_getinfo);
    LOAD(easy_strerror);
    LOAD(slist_append);
    LOAD(slist_free_all);
    LOAD(multi_init);
    LOAD(multi_cleanup);
    LOAD(multi_setopt);
    LOAD(multi_add_handle);
    LOAD(multi_remove_handle);
    LOAD(multi_perform);
    LOAD(multi_poll);
    LOAD(multi_wakeup);
    LOAD(multi_info_read);
    LOAD(multi_strerror);
    LOAD(url);
    LOAD(url_cleanup);
    LOAD(url_set);
    LOAD(url_get);
    LOAD(free);

    // OpenSSL by default frees all it has when exit() is called, under the feet of threads that are still at work. Its
    // first initialisation decides; see OPENSSL_init_crypto(3). dlsym looks into what libcurl itself is linked with.
    int (*init_crypto)(uint64_t, const void *);
    *(void **)&init_crypto = dlsym(library, "OPENSSL_init_crypto");
    const uint64_t no_atexit = 0x00080000;
    if (init_crypto != NULL) init_crypto(no_atexit, NULL);
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

int ccurl_set_blob(void *handle, enum ccurl_option option, const void *bytes, size_t count) {
    struct curl_blob blob = {(void *)bytes, count, CURL_BLOB_COPY};
    return curl.easy_setopt(handle, (CURLoption)option, &blob);
}

int ccurl_set_list(void *handle, enum ccurl_option option, void *list) {
    return curl.easy_setopt(handle, (CURLoption)option, list);
}

int ccurl_set_error_buffer(void *handle, char *buffer) {
    return curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, buffer);
}

int ccurl_set_write_function(void *handle, ccurl_write_function function, void *context) {
    CURLcode code = curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, function);
    return code != CURLE_OK ? code : curl.easy_setopt(handle, CURLOPT_WRITEDATA, context);
}

void *ccurl_list_append(void *list, const char *text) { return curl.slist_append(list, text); }
void ccurl_list_free(void *list) { curl.slist_free_all(list); }

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

void *ccurl_multi_init(void) { return is_loaded ? curl.multi_init() : NULL; }
int ccurl_multi_cleanup(void *multi) { return curl.multi_cleanup(multi); }

int ccurl_multi_set_long(void *multi, enum ccurl_multi_option option, long value) {
    return curl.multi_setopt(multi, (CURLMoption)option, value);
}

int ccurl_multi_add(void *multi, void *handle) { return curl.multi_add_handle(multi, handle); }
int ccurl_multi_remove(void *multi, void *handle) { return curl.multi_remove_handle(multi, handle); }

int ccurl_multi_perform(void *multi) {
    int running;
    return curl.multi_perform(multi, &running);
}

int ccurl_multi_poll(void *multi, int milliseconds) { return curl.multi_poll(multi, NULL, 0, milliseconds, NULL); }
int ccurl_multi_wakeup(void *multi) { return curl.multi_wakeup(multi); }

void *ccurl_multi_next_done(void *multi, int *code) {
    int left;
    const CURLMsg *message;
    while ((message = curl.multi_info_read(multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) continue;
        *code = message->data.result;
        return message->easy_handle;
    }
    return NULL;
}

const char *ccurl_multi_text(int code) { return curl.multi_strerror((CURLMcode)code); }

void *ccurl_url_parse(const char *text) {
    CURLU *url = is_loaded ? curl.url() : NULL;
    if (url == NULL || curl.url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) return url;
    curl.url_cleanup(url);
    return NULL;
}

void ccurl_url_free(void *url) { curl.url_cleanup(url); }

int ccurl_url_set(void *url, enum ccurl_url_part part, const char *text) {
    return curl.url_set(url, (CURLUPart)part, text, 0);
}

char *ccurl_url_get(void *url, enum ccurl_url_part part) {
    char *text = NULL;
    return curl.url_get(url, (CURLUPart)part, &text, 0) == CURLUE_OK ? text : NULL;
}

void ccurl_free(void *text) { curl.free(text); }
