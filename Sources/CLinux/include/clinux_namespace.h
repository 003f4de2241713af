// Extensions that the Glibc overlay hides: entering namespaces, two file actions of posix_spawn, pseudo-terminals.
#pragma once
#include <spawn.h>

/// setns(2) with CLONE_NEWNET, for the calling thread only. 0, or -1 with errno.
int clinux_enter_network_namespace(int descriptor);

/// posix_spawn_file_actions_addchdir_np(3). 0, or the error number.
int clinux_spawn_change_directory(posix_spawn_file_actions_t *actions, const char *path);

/// posix_spawn_file_actions_addclosefrom_np(3): the child closes every descriptor from `lowest` on. 0, or the error number.
int clinux_spawn_close_from(posix_spawn_file_actions_t *actions, int lowest);

/// openpty(3) with the default settings: both ends, not to be inherited. 0, or -1 with errno.
int clinux_open_terminal(int *terminal, int *user);
