// What the parts of the rig share.
#pragma once
#include "RaftRig.h"
#include <raft.h>

struct server;

// A log entry in memory of our own.
struct entry {
    uint64_t term;
    unsigned short kind;
    size_t size;
    void *data;
};

struct entries {
    struct entry *all;
    unsigned count, room;
};

// What survives a crash.
struct disk {
    uint64_t term;
    uint64_t voted_for;
    struct entries log;
};

// What the disk has been told to do: append entries, or cut the log off before an index.
struct operation {
    struct operation *next;
    uint64_t truncates_at;
    struct entries appends;
    struct raft_io_append *request;
    raft_io_append_cb done;
};

struct message {
    struct message *next;
    struct rig_message head;
    struct raft_message raft;
    struct entries entries;
    struct raft_io_send *request;
    raft_io_send_cb done;
};

struct queue {
    struct message *first, *last;
};

struct outcome {
    struct outcome *next;
    struct rig_outcome is;
};

struct server {
    unsigned id;
    struct rig *rig;
    char address[16];
    bool is_up;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    struct disk disk;
    struct operation *first, *last;
    // Done behind the back of a server that crashes.
    struct operation *lost;
    struct queue sent;
    struct rig_entry *applied;
    size_t applied_count, applied_room;
};

struct rig {
    struct server servers[RIG_SERVERS + 1];
    unsigned count;
    uint64_t now;
    uint64_t random;
    uint64_t last_number;
    // Messages that were taken.
    struct queue taken;
    struct outcome *first, *last;
};

// Entries.
bool entries_copy(struct entries *to, const struct raft_entry from[], unsigned count);
bool entries_copy_own(struct entries *to, const struct entries *from);
bool entries_append(struct entries *to, struct entries *from);
void entries_cut(struct entries *entries, uint64_t index);
void entries_free(struct entries *entries);
// In libraft's memory, in one batch; NULL when there are none, or no memory.
struct raft_entry *entries_for_raft(const struct entries *entries);
void describe(uint64_t index, uint64_t term, unsigned kind, const void *data, size_t size, struct rig_entry *entry);
uint32_t members_with(const struct raft_configuration *configuration, int role);

// The backend of a server: disk, network and clock.
void backend_make(struct server *server);
bool backend_finish(struct server *server, bool tells);

void message_free(struct message *message);
void queue_add(struct queue *queue, struct message *message);
