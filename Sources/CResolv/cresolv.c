#include "cresolv.h"
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// RFC 1035 section 4.1.1, and 3.1 with type and class after the name.
enum { header_size = 12, longest_question = 255 + 4, opt_size = 11 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct cresolv {
    struct __res_state state;
    int server_count;
    union address servers[MAXNS];
};

static socklen_t size_of(const union address *address) {
    return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

struct cresolv *cresolv_open(void) {
    struct cresolv *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) return NULL;
    if (res_ninit(&resolver->state) != 0) {
        free(resolver);
        return NULL;
    }
    const struct __res_state *state = &resolver->state;
    for (int i = 0; i < state->nscount && i < MAXNS; i++) {
        union address *server = &resolver->servers[resolver->server_count];
        // glibc marks an IPv6 server by the family 0 in the old list.
        if (state->nsaddr_list[i].sin_family == AF_INET) {
            server->v4 = state->nsaddr_list[i];
        } else if (state->_u._ext.nsaddrs[i] != NULL) {
            server->v6 = *state->_u._ext.nsaddrs[i];
        } else {
            continue;
        }
        resolver->server_count++;
    }
    return resolver;
}

void cresolv_close(struct cresolv *resolver) {
    if (resolver == NULL) return;
    res_nclose(&resolver->state);
    free(resolver);
}

int cresolv_get(const struct cresolv *resolver, enum cresolv_setting setting) {
    const struct __res_state *state = &resolver->state;
    switch (setting) {
    case cresolv_ndots: return state->ndots;
    case cresolv_timeout: return state->retrans;
    case cresolv_attempts: return state->retry;
    case cresolv_edns: return (state->options & RES_USE_EDNS0) != 0;
    case cresolv_stream: return (state->options & RES_USEVC) != 0;
    case cresolv_rotate: return (state->options & RES_ROTATE) != 0;
    case cresolv_no_top_level: return (state->options & RES_NOTLDQUERY) != 0;
#ifdef RES_NOAAAA
    case cresolv_no_aaaa: return (state->options & RES_NOAAAA) != 0;
#else
    case cresolv_no_aaaa: return 0;
#endif
    }
    return 0;
}

const char *cresolv_domain(const struct cresolv *resolver, int index) {
    return index >= 0 && index < MAXDNSRCH ? resolver->state.dnsrch[index] : NULL;
}

int cresolv_server_count(const struct cresolv *resolver) { return resolver->server_count; }

int cresolv_server(const struct cresolv *resolver, int index, char *address, int size) {
    if (index < 0 || index >= resolver->server_count || size <= 0) return -1;
    const union address *server = &resolver->servers[index];
    if (getnameinfo(&server->any, size_of(server), address, size, NULL, 0, NI_NUMERICHOST) != 0) return -1;
    return ntohs(server->any.sa_family == AF_INET6 ? server->v6.sin6_port : server->v4.sin_port);
}

void cresolv_forget_servers(struct cresolv *resolver) { resolver->server_count = 0; }

int cresolv_add_server(struct cresolv *resolver, const char *address, unsigned short port) {
    if (resolver->server_count >= MAXNS) {
        errno = ENOSPC;
        return -1;
    }
    union address server;
    memset(&server, 0, sizeof server);
    if (inet_pton(AF_INET, address, &server.v4.sin_addr) == 1) {
        server.v4.sin_family = AF_INET;
        server.v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, address, &server.v6.sin6_addr) == 1) {
        server.v6.sin6_family = AF_INET6;
        server.v6.sin6_port = htons(port);
    } else {
        errno = EINVAL;
        return -1;
    }
    resolver->servers[resolver->server_count++] = server;
    return 0;
}

static unsigned char lower(unsigned char byte) { return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte; }

// Whether a message is a response with the query's id and its one question, in which upper and lower case are the same:
// no length of a label and no type asked for here is an upper case letter.
static int answers(const unsigned char *message, int size, const unsigned char *query, int question_size) {
    const int end = header_size + question_size;
    if (size < end || memcmp(message, query, 2) != 0 || (message[2] & 0x80) == 0) return 0;
    if (message[4] != 0 || message[5] != 1) return 0;
    for (int i = header_size; i < end; i++) {
        if (lower(message[i]) != lower(query[i])) return 0;
    }
    return 1;
}

// RFC 6891 section 6.1.2, with the size that glibc announces: it passes every network unfragmented.
static void append_opt(unsigned char *query, int length) {
    static const unsigned char opt[opt_size] = {0, 0, ns_t_opt, 1200 >> 8, 1200 & 0xFF};
    memcpy(query + length, opt, opt_size);
    query[11] = 1;
}

// A time-out of libc's is in whole seconds; it would wait without any limit for a connection that says nothing.
static int ask_datagram(
    struct __res_state *state, const union address *server, int seconds, const unsigned char *query, int length,
    int question_size, unsigned char *answer, int size) {
    state->nscount = 1;
    if (server->any.sa_family == AF_INET6) {
        // res_nclose frees it.
        if (state->_u._ext.nsaddrs[0] == NULL) state->_u._ext.nsaddrs[0] = malloc(sizeof server->v6);
        if (state->_u._ext.nsaddrs[0] == NULL) return -1;
        *state->_u._ext.nsaddrs[0] = server->v6;
        state->nsaddr_list[0].sin_family = 0;
    } else {
        state->nsaddr_list[0] = server->v4;
    }
    state->retrans = seconds;
    state->retry = 1;
    state->options &= ~RES_USEVC;
    state->options |= RES_IGNTC;

    memset(answer, 0, size);
    errno = 0;
    const int count = res_nsend(state, query, length, answer, size);
    if (count > 0) return answers(answer, count, query, question_size) ? count : (errno = EBADMSG, -1);
    // An answer with SERVFAIL, NOTIMP or REFUSED, or one that knows nothing, makes libc go on to the next server and
    // report a time-out in the end; but it stands in the buffer. With a pfcode libc would give it back, and wait for ever
    // after one that knows nothing.
    if (!answers(answer, size, query, question_size)) return -1;
    memset(answer + 6, 0, header_size - 6);
    return header_size + question_size;
}

static long long milliseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// Waits until the socket is ready. 0, or -1 with errno.
static int await(int descriptor, short events, long long deadline) {
    for (;;) {
        const long long left = deadline - milliseconds_now();
        if (left <= 0) break;
        struct pollfd entry = {.fd = descriptor, .events = events};
        const int count = poll(&entry, 1, (int)left);
        if (count > 0) return 0;
        if (count == 0) break;
        if (errno != EINTR) return -1;
    }
    errno = ETIMEDOUT;
    return -1;
}

// Sends or receives so many bytes. 0, or -1 with errno: ECONNRESET when the peer closes first.
static int transfer(int descriptor, unsigned char *bytes, int count, short direction, long long deadline) {
    while (count > 0) {
        if (await(descriptor, direction, deadline) != 0) return -1;
        const ssize_t done = direction == POLLOUT ? send(descriptor, bytes, count, MSG_NOSIGNAL)
                                                  : recv(descriptor, bytes, count, 0);
        if (done > 0) {
            bytes += done;
            count -= done;
        } else if (done == 0) {
            errno = ECONNRESET;
            return -1;
        } else if (errno != EAGAIN && errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

// RFC 1035 section 4.2.2: a length of two bytes goes before each message.
static int exchange(
    int descriptor, const union address *server, long long deadline, const unsigned char *query, int length,
    unsigned char *answer, int size) {
    if (connect(descriptor, &server->any, size_of(server)) != 0) {
        if (errno != EINPROGRESS || await(descriptor, POLLOUT, deadline) != 0) return -1;
        int code = 0;
        socklen_t code_size = sizeof code;
        if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &code_size) != 0) return -1;
        if (code != 0) {
            errno = code;
            return -1;
        }
    }
    unsigned char framed[2 + NS_PACKETSZ], prefix[2];
    framed[0] = length >> 8;
    framed[1] = length & 0xFF;
    memcpy(framed + 2, query, length);
    if (transfer(descriptor, framed, 2 + length, POLLOUT, deadline) != 0) return -1;
    if (transfer(descriptor, prefix, 2, POLLIN, deadline) != 0) return -1;
    const int count = prefix[0] << 8 | prefix[1];
    if (count > size) {
        errno = ENOBUFS;
        return -1;
    }
    return transfer(descriptor, answer, count, POLLIN, deadline) == 0 ? count : -1;
}

static int ask_stream(
    const union address *server, int seconds, const unsigned char *query, int length, int question_size,
    unsigned char *answer, int size) {
    const long long deadline = milliseconds_now() + seconds * 1000LL;
    const int descriptor = socket(server->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    const int count = exchange(descriptor, server, deadline, query, length, answer, size);
    const int code = errno;
    close(descriptor);
    errno = code;
    if (count < 0) return -1;
    return answers(answer, count, query, question_size) ? count : (errno = EBADMSG, -1);
}

int cresolv_ask(
    const struct cresolv *resolver, int index, const struct cresolv_question *question, unsigned char *answer,
    int size) {
    if (index < 0 || index >= resolver->server_count || size < header_size + longest_question) {
        errno = EINVAL;
        return -1;
    }
    struct __res_state state;
    memset(&state, 0, sizeof state);
    if (res_ninit(&state) != 0) return -1;
    unsigned char query[NS_PACKETSZ];
    int count = -1;
    int length = res_nmkquery(
        &state, ns_o_query, question->name, ns_c_in, question->type, NULL, 0, NULL, query, sizeof query - opt_size);
    if (length < header_size) {
        errno = EMSGSIZE;
    } else {
        const union address *server = &resolver->servers[index];
        const int question_size = length - header_size;
        if (question->edns) {
            append_opt(query, length);
            length += opt_size;
        }
        count = question->stream
            ? ask_stream(server, question->seconds, query, length, question_size, answer, size)
            : ask_datagram(&state, server, question->seconds, query, length, question_size, answer, size);
    }
    const int code = errno;
    res_nclose(&state);
    errno = code;
    return count;
}
