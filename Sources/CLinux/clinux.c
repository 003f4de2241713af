#define _GNU_SOURCE 1
#include "clinux.h"

#include <linux/capability.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

int clinux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int clinux_unshare_network(void) { return unshare(CLONE_NEWNET); }

int clinux_drop_thread_capabilities(void) {
    // capset(2): version 3 takes two sets of 32 bits; process 0 is the calling thread.
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2] = {{0}};
    return (int)syscall(SYS_capset, &header, none);
}

int clinux_sealed_memory(const char *name, long size) {
    int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) return -1;
    if (ftruncate(descriptor, size) != 0 ||
        fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int failure = errno;
        close(descriptor);
        errno = failure;
        return -1;
    }
    return descriptor;
}

int clinux_forbid_system_calls(void) { return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0); }

int clinux_trace_stop(int thread) {
    if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) return -1;
    int status;
    return waitpid(thread, &status, __WALL) == thread ? 0 : -1;
}

int clinux_unshare_files(void) { return unshare(CLONE_FILES); }

int clinux_replace_descriptor(int from, int to) { return dup3(from, to, O_CLOEXEC); }

int clinux_send_frames(
    int descriptor, unsigned interface, const unsigned char *frames, const unsigned short *lengths, int count) {
    enum { most = 64 };
    struct mmsghdr messages[most];
    struct iovec parts[most];
    struct sockaddr_ll targets[most];
    int sent = 0;
    while (sent < count) {
        int batch = count - sent < most ? count - sent : most;
        memset(messages, 0, sizeof messages);
        memset(targets, 0, sizeof targets);
        const unsigned char *frame = frames;
        for (int i = 0; i < batch; i++) {
            targets[i].sll_family = AF_PACKET;
            memcpy(&targets[i].sll_protocol, frame + 12, 2);
            targets[i].sll_ifindex = (int)interface;
            targets[i].sll_halen = 6;
            memcpy(targets[i].sll_addr, frame, 6);
            parts[i] = (struct iovec){.iov_base = (void *)frame, .iov_len = lengths[sent + i]};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &targets[i], .msg_namelen = sizeof targets[i], .msg_iov = &parts[i], .msg_iovlen = 1};
            frame += lengths[sent + i];
        }
        int taken = sendmmsg(descriptor, messages, (unsigned)batch, MSG_DONTWAIT);
        if (taken < 0 && errno == EINTR) continue;
        if (taken <= 0) return sent > 0 ? sent : -1;
        for (int i = 0; i < taken; i++) frames += lengths[sent + i];
        sent += taken;
    }
    return sent;
}

int clinux_thread_id(void) { return gettid(); }

int clinux_keep_memory_small(void) {
    // Once a block of some MiB was freed, glibc takes the next ones from its arenas, one for each thread, and keeps them.
    return mallopt(M_MMAP_THRESHOLD, 256 << 10) && mallopt(M_TRIM_THRESHOLD, 256 << 10) && mallopt(M_ARENA_MAX, 4) ? 0 : -1;
}
