#define _GNU_SOURCE 1
#include "clinux_namespace.h"
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <spawn.h>

int clinux_enter_network_namespace(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int clinux_spawn_change_directory(posix_spawn_file_actions_t *actions, const char *path) {
    return posix_spawn_file_actions_addchdir_np(actions, path);
}

int clinux_spawn_close_from(posix_spawn_file_actions_t *actions, int lowest) {
    return posix_spawn_file_actions_addclosefrom_np(actions, lowest);
}

int clinux_open_terminal(int *terminal, int *user) {
    if (openpty(terminal, user, NULL, NULL, NULL) != 0) return -1;
    fcntl(*terminal, F_SETFD, FD_CLOEXEC);
    fcntl(*user, F_SETFD, FD_CLOEXEC);
    return 0;
}
