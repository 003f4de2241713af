#define _GNU_SOURCE 1
#include "clinux.h"

#include <linux/capability.h>
#include <sys/syscall.h>

int clinux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int clinux_unshare_network(void) { return unshare(CLONE_NEWNET); }

int clinux_drop_thread_capabilities(void) {
    // capset(2): version 3 takes two sets of 32 bits; process 0 is the calling thread.
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2] = {{0}};
    return (int)syscall(SYS_capset, &header, none);
}

int clinux_unshare_files(void) { return unshare(CLONE_FILES); }

int clinux_thread_id(void) { return gettid(); }
