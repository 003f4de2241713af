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

int clinux_read_capabilities(struct clinux_capabilities *sets) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0}};
    memset(sets, 0, sizeof *sets);
    if (syscall(SYS_capget, &header, data) != 0) return -1;
    sets->effective = (uint64_t)data[1].effective << 32 | data[0].effective;
    sets->permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
    sets->inheritable = (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
    for (unsigned long number = 0; number < 64; number++) {
        // EINVAL from the first number on that this kernel does not know.
        int bounding = prctl(PR_CAPBSET_READ, number, 0, 0, 0);
        if (bounding < 0) break;
        if (bounding) sets->bounding |= (uint64_t)1 << number;
        // Since Linux 4.3; without it the set is empty.
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, number, 0, 0) == 1) sets->ambient |= (uint64_t)1 << number;
    }
    return 0;
}

int clinux_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
    return (int)syscall(SYS_capset, &header, data);
}

int clinux_drop_bounding_capability(int number) { return prctl(PR_CAPBSET_DROP, (unsigned long)number, 0, 0, 0); }

int clinux_gain_no_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int clinux_set_dumpable(int is_dumpable) { return prctl(PR_SET_DUMPABLE, (unsigned long)is_dumpable, 0, 0, 0); }

int clinux_is_dumpable(void) { return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0); }

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
