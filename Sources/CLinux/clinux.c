#define _GNU_SOURCE 1
#include "clinux.h"

int clinux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int clinux_unshare_network(void) { return unshare(CLONE_NEWNET); }

int clinux_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET); }
