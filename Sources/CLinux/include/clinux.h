// What Swift's Glibc overlay leaves out of the Linux headers.
#pragma once
#include "clinux_namespace.h"
// net/if.h before any linux/ header: linux/libc-compat.h then leaves the shared structs to it.
#include <net/if.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Swift sees neither GNU extensions nor variadic functions of libc; these are thin names for the few that are needed.

/// Names the calling thread (PR_SET_NAME of prctl(2)); at most 15 bytes. 0, or -1 with errno.
int clinux_set_thread_name(const char *name);

/// Gives the calling thread a new, empty network namespace (unshare(2), CLONE_NEWNET). 0, or -1 with errno.
int clinux_unshare_network(void);

/// Takes all capabilities from the calling thread, and from no other: for tests of what an unprivileged process meets.
/// 0, or -1 with errno.
int clinux_drop_thread_capabilities(void);

/// The five sets of capabilities(7) of the calling thread: bit N stands for the capability of that number.
struct clinux_capabilities {
    uint64_t effective, permitted, inheritable, bounding, ambient;
};

/// Reads them (capget(2), PR_CAPBSET_READ and PR_CAP_AMBIENT_IS_SET of prctl(2)). 0, or -1 with errno.
int clinux_read_capabilities(struct clinux_capabilities *sets);

/// Sets three of them for the calling thread (capset(2)); what leaves the permitted or the inheritable set leaves the ambient
/// one too. 0, or -1 with errno.
int clinux_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable);

/// Takes one out of the bounding set of the calling thread for good (PR_CAPBSET_DROP); EPERM without CAP_SETPCAP. 0, or -1 with
/// errno.
int clinux_drop_bounding_capability(int number);

/// No program that the calling thread starts gains a privilege by it (PR_SET_NO_NEW_PRIVS). 0, or -1 with errno.
int clinux_gain_no_privileges(void);

/// Whether this process leaves a core, and may be looked into by its own user (PR_SET_DUMPABLE). 0, or -1 with errno.
int clinux_set_dumpable(int is_dumpable);

/// 1, 0, or 2 where root alone may (PR_GET_DUMPABLE).
int clinux_is_dumpable(void);

/// Memory of `size` bytes, all zero, behind a descriptor to be mapped (memfd_create(2)), closed on exec. It is sealed: nobody
/// who gets the descriptor can change its size, which would end a process that reads the mapping (SIGBUS). A descriptor, or
/// -1 with errno.
int clinux_sealed_memory(const char *name, long size);

/// Has the kernel end the calling thread with SIGKILL at its next system call, but for read, write and its own end
/// (PR_SET_SECCOMP with SECCOMP_MODE_STRICT, see seccomp(2)): for tests that something makes none. 0, or -1 with errno.
int clinux_forbid_system_calls(void);

/// Stops a thread of another process as a debugger does (PTRACE_SEIZE and PTRACE_INTERRUPT of ptrace(2)), and returns when it
/// stands still; it goes on when the calling thread ends. For tests. 0, or -1 with errno.
int clinux_trace_stop(int thread);

/// Gives the calling thread a descriptor table of its own, a copy of the process's (unshare(2), CLONE_FILES). 0, or -1 with
/// errno.
int clinux_unshare_files(void);

/// Puts the open file of a descriptor in the place of another, which it closes (dup3(2) with O_CLOEXEC). `to`, or -1 with errno.
int clinux_replace_descriptor(int from, int to);

/// Gives whole Ethernet frames to an interface through a packet socket, many in one system call (sendmmsg(2)), without waiting.
/// `frames` holds them one behind the other, `lengths` how long each is, at least 14 bytes. How many were taken, which may be
/// fewer than there are; -1 with errno when it was none.
int clinux_send_frames(int descriptor, unsigned interface, const unsigned char *frames, const unsigned short *lengths, int count);

/// The kernel's id of the calling thread (gettid(2)), as ip(8) and /proc name it.
int clinux_thread_id(void);

/// Has malloc give large blocks back to the kernel as soon as they are freed, and keep few arenas (mallopt(3)). To be called
/// before there are threads. 0, or -1 when malloc refuses.
int clinux_keep_memory_small(void);
