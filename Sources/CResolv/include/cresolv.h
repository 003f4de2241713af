// The resolver of libc as Swift can import it: the settings of resolv.conf(5), and one question to one of its servers.
// See resolver(3).
//
// No header of libc is included: resolv.h needs fd_set, whose members glibc names otherwise with _GNU_SOURCE than without,
// and clang refuses a program whose modules disagree.
//
// res_nquery(3) itself asks server after server and keeps to itself what each said: SERVFAIL, REFUSED and silence are one
// to it. So each server is asked alone here, and the caller goes on to the next.
#pragma once

enum { cresolv_max_answer = 65535 };

// What resolv.conf(5) says, as read at cresolv_open.
enum cresolv_setting {
    cresolv_ndots,
    // Seconds for one try, and tries.
    cresolv_timeout,
    cresolv_attempts,
    // Truth values: the options edns0, use-vc, rotate, no-tld-query and no-aaaa.
    cresolv_edns,
    cresolv_stream,
    cresolv_rotate,
    cresolv_no_top_level,
    cresolv_no_aaaa,
};

struct cresolv;

// Reads resolv.conf(5) and the environment. NULL with errno.
struct cresolv *cresolv_open(void);
void cresolv_close(struct cresolv *resolver);

int cresolv_get(const struct cresolv *resolver, enum cresolv_setting setting);

// The search list, of which libc gives out the first six; NULL after the last.
const char *cresolv_domain(const struct cresolv *resolver, int index);

int cresolv_server_count(const struct cresolv *resolver);
// Writes the address of a server, with its zone if it has one, and gives back its port; -1 when there is no such server.
int cresolv_server(const struct cresolv *resolver, int index, char *address, int size);

// For tests, whose servers cannot have port 53.
void cresolv_forget_servers(struct cresolv *resolver);
// Takes an address without a zone. 0, or -1 with errno: EINVAL for no address, ENOSPC for a fourth server.
int cresolv_add_server(struct cresolv *resolver, const char *address, unsigned short port);

struct cresolv_question {
    // In presentation format and complete: no search domain is appended.
    const char *name;
    unsigned short type;
    // Whether to send an OPT record (RFC 6891).
    int edns;
    // Over TCP, or over UDP. A truncated answer over UDP is given back as it is.
    int stream;
    // The limit of time: 1 to 30 seconds.
    int seconds;
};

// Asks one server, once, and writes its answer. Blocks until there is one or the time is over.
//
// The length of the answer, whose id and question are those that were sent; of an answer that libc rejects for its RCODE,
// header and question. Or -1 with errno: ETIMEDOUT, ECONNREFUSED (over UDP also for want of a route), EMSGSIZE for a name
// that does not fit, EBADMSG for an answer to something else.
int cresolv_ask(
    const struct cresolv *resolver, int server, const struct cresolv_question *question, unsigned char *answer, int size);
