// Servers and time: making, starting, ending and reading them.
#include "rig.h"
#include <stdlib.h>
#include <string.h>

enum { ELECTION_TIMEOUT = 450, HEARTBEAT = 45 };

static struct server *server_at(struct rig *rig, unsigned id) {
    return rig != NULL && id >= 1 && id <= rig->count ? &rig->servers[id] : NULL;
}

static struct server *running(struct rig *rig, unsigned id) {
    struct server *server = server_at(rig, id);
    return server != NULL && server->is_up ? server : NULL;
}

// MARK: - State machine

// It keeps what it was given, in its order.
static int apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result) {
    struct server *server = fsm->data;
    *result = NULL;
    if (server->applied_count == server->applied_room) {
        size_t room = server->applied_room * 2 + 16;
        struct rig_entry *applied = realloc(server->applied, room * sizeof *applied);
        if (applied == NULL) return RAFT_NOMEM;
        server->applied = applied;
        server->applied_room = room;
    }
    struct rig_entry entry;
    uint64_t index = server->raft.last_applied + 1;
    if (!rig_log(server->rig, server->id, index, &entry)) entry = (struct rig_entry){.index = index};
    if (buffer->len >= sizeof entry.value) memcpy(&entry.value, buffer->base, sizeof entry.value);
    server->applied[server->applied_count++] = entry;
    return 0;
}

static int no_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count) {
    (void)fsm, (void)buffers, (void)count;
    return RAFT_BUSY;
}

static int no_restore(struct raft_fsm *fsm, struct raft_buffer *buffer) {
    (void)fsm, (void)buffer;
    return RAFT_INVALID;
}

// MARK: - Making

// The disk of a member that has just been made: entry 1 of term 1.
static bool found(struct server *server, const struct raft_configuration *configuration) {
    struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};
    if (raft_configuration_encode(configuration, &entry.buf) != 0) return false;
    server->disk.term = 1;
    bool isDone = entries_copy(&server->disk.log, &entry, 1);
    raft_free(entry.buf.base);
    return isDone;
}

struct rig *rig_make(const uint8_t roles[], unsigned count, uint64_t seed) {
    if (count < 1 || count > RIG_SERVERS) return NULL;
    struct rig *rig = calloc(1, sizeof *rig);
    if (rig == NULL) return NULL;
    rig->count = count;
    rig->now = 1000;
    rig->random = seed;
    struct raft_configuration configuration;
    raft_configuration_init(&configuration);
    bool isMade = true;
    for (unsigned id = 1; id <= count; id++) {
        struct server *server = &rig->servers[id];
        server->id = id;
        server->rig = rig;
        server->address[0] = 'n';
        server->address[1] = (char)('0' + id);
        if (roles[id - 1] == RIG_NO_MEMBER) continue;
        isMade = isMade && raft_configuration_add(&configuration, id, server->address, roles[id - 1]) == 0;
    }
    for (unsigned id = 1; id <= count; id++)
        if (roles[id - 1] != RIG_NO_MEMBER) isMade = isMade && found(&rig->servers[id], &configuration);
    raft_configuration_close(&configuration);
    if (isMade) return rig;
    rig_free(rig);
    return NULL;
}

void rig_free(struct rig *rig) {
    if (rig == NULL) return;
    for (unsigned id = 1; id <= rig->count; id++) {
        if (rig->servers[id].is_up) rig_crash(rig, id, 0);
        entries_free(&rig->servers[id].disk.log);
        free(rig->servers[id].applied);
    }
    while (rig->taken.first != NULL) {
        struct message *message = rig->taken.first;
        rig->taken.first = message->next;
        message_free(message);
    }
    struct rig_outcome outcome;
    while (rig_outcome(rig, &outcome)) continue;
    free(rig);
}

void rig_set_time(struct rig *rig, uint64_t milliseconds) { rig->now = milliseconds; }

// MARK: - Running

int rig_start(struct rig *rig, unsigned id) {
    struct server *server = server_at(rig, id);
    if (server == NULL || server->is_up) return RIG_NO_SUCH;
    memset(&server->raft, 0, sizeof server->raft);
    server->applied_count = 0;
    backend_make(server);
    server->fsm = (struct raft_fsm){
        .version = 1, .data = server, .apply = apply, .snapshot = no_snapshot, .restore = no_restore};
    int status = raft_init(&server->raft, &server->io, &server->fsm, id, server->address);
    if (status != 0) return status;
    server->is_up = true;
    // As dqlite_node_create does it.
    raft_set_election_timeout(&server->raft, ELECTION_TIMEOUT);
    raft_set_heartbeat_timeout(&server->raft, HEARTBEAT);
    raft_set_pre_vote(&server->raft, true);
    raft_set_max_catch_up_rounds(&server->raft, 100);
    raft_set_max_catch_up_round_duration(&server->raft, 50 * 1000);
    raft_set_snapshot_threshold(&server->raft, UINT32_MAX);
    status = raft_start(&server->raft);
    if (status != 0) rig_crash(rig, id, 0);
    return status;
}

int rig_crash(struct rig *rig, unsigned id, unsigned kept) {
    struct server *server = running(rig, id);
    if (server == NULL) return RIG_NO_SUCH;
    for (unsigned i = 0; i < kept; i++) backend_finish(server, false);
    raft_close(&server->raft, NULL);
    server->is_up = false;
    return 0;
}

int rig_tick(struct rig *rig, unsigned id) {
    struct server *server = running(rig, id);
    if (server == NULL) return RIG_NO_SUCH;
    server->tick(&server->io);
    return 0;
}

bool rig_write(struct rig *rig, unsigned id) {
    struct server *server = running(rig, id);
    return server != NULL && backend_finish(server, true);
}

// MARK: - Reading

bool rig_read(struct rig *rig, unsigned id, struct rig_state *state) {
    struct server *server = server_at(rig, id);
    *state = (struct rig_state){.role = RIG_DOWN};
    if (server == NULL) return false;
    if (!server->is_up) return true;
    struct raft *raft = &server->raft;
    state->role = (unsigned)raft_state(raft);
    state->term = raft->current_term;
    state->voted_for = raft->voted_for;
    if (state->role == RIG_FOLLOWER) state->leader = raft->follower_state.current_leader.id;
    state->last_index = raft_last_index(raft);
    struct rig_entry last;
    if (rig_log(rig, id, state->last_index, &last)) state->last_term = last.term;
    state->stored = raft->last_stored;
    state->committed = raft->commit_index;
    state->applied = raft->last_applied;
    state->voters = members_with(&raft->configuration, RAFT_VOTER);
    state->standbys = members_with(&raft->configuration, RAFT_STANDBY);
    state->spares = members_with(&raft->configuration, RAFT_SPARE);
    if (raft->transfer != NULL) state->transfer_to = raft->transfer->id;
    return true;
}

unsigned rig_role(struct rig *rig, unsigned id) {
    struct server *server = running(rig, id);
    return server != NULL ? (unsigned)raft_state(&server->raft) : RIG_DOWN;
}

unsigned rig_writes(struct rig *rig, unsigned id) {
    struct server *server = running(rig, id);
    unsigned writes = 0;
    for (struct operation *operation = server != NULL ? server->first : NULL; operation != NULL;
         operation = operation->next)
        if (operation->truncates_at == 0) writes++;
    return writes;
}

// The log is a ring whose first entry has the index offset + 1; see struct raft_log.
bool rig_log(struct rig *rig, unsigned id, uint64_t index, struct rig_entry *entry) {
    struct server *server = running(rig, id);
    if (server == NULL) return false;
    const struct raft_log *log = &server->raft.log;
    if (log->size == 0 || index <= log->offset || index > raft_last_index(&server->raft)) return false;
    const struct raft_entry *found = &log->entries[(log->front + (size_t)(index - 1 - log->offset)) % log->size];
    describe(index, found->term, found->type, found->buf.base, found->buf.len, entry);
    return true;
}

bool rig_disk_log(struct rig *rig, unsigned id, uint64_t index, struct rig_entry *entry) {
    struct server *server = server_at(rig, id);
    if (server == NULL || index < 1 || index > server->disk.log.count) return false;
    const struct entry *found = &server->disk.log.all[index - 1];
    describe(index, found->term, found->kind, found->data, found->size, entry);
    return true;
}

bool rig_read_disk(struct rig *rig, unsigned id, struct rig_disk *disk) {
    struct server *server = server_at(rig, id);
    *disk = (struct rig_disk){0};
    if (server == NULL) return false;
    disk->term = server->disk.term;
    disk->voted_for = server->disk.voted_for;
    disk->last_index = server->disk.log.count;
    return true;
}

size_t rig_applied_count(struct rig *rig, unsigned id) {
    struct server *server = server_at(rig, id);
    return server != NULL ? server->applied_count : 0;
}

bool rig_applied(struct rig *rig, unsigned id, size_t position, struct rig_entry *entry) {
    struct server *server = server_at(rig, id);
    if (server == NULL || position >= server->applied_count) return false;
    *entry = server->applied[position];
    return true;
}
