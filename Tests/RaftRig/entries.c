#include "rig.h"
#include <stdlib.h>
#include <string.h>

static bool has_room(struct entries *entries, unsigned more) {
    if (entries->count + more <= entries->room) return true;
    unsigned room = entries->room * 2 > entries->count + more ? entries->room * 2 : entries->count + more + 8;
    struct entry *all = realloc(entries->all, room * sizeof *all);
    if (all == NULL) return false;
    entries->all = all;
    entries->room = room;
    return true;
}

static bool add(struct entries *to, uint64_t term, unsigned short kind, const void *data, size_t size) {
    void *copy = has_room(to, 1) ? malloc(size + 1) : NULL;
    if (copy == NULL) return false;
    if (size > 0) memcpy(copy, data, size);
    to->all[to->count++] = (struct entry){.term = term, .kind = kind, .size = size, .data = copy};
    return true;
}

bool entries_copy(struct entries *to, const struct raft_entry from[], unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (!add(to, from[i].term, from[i].type, from[i].buf.base, from[i].buf.len)) return false;
    return true;
}

bool entries_copy_own(struct entries *to, const struct entries *from) {
    for (unsigned i = 0; i < from->count; i++) {
        const struct entry *entry = &from->all[i];
        if (!add(to, entry->term, entry->kind, entry->data, entry->size)) return false;
    }
    return true;
}

// Moves what `from` has.
bool entries_append(struct entries *to, struct entries *from) {
    if (!has_room(to, from->count)) return false;
    for (unsigned i = 0; i < from->count; i++) to->all[to->count++] = from->all[i];
    from->count = 0;
    return true;
}

void entries_cut(struct entries *entries, uint64_t index) {
    while (entries->count > 0 && entries->count >= index) free(entries->all[--entries->count].data);
}

void entries_free(struct entries *entries) {
    entries_cut(entries, 0);
    free(entries->all);
    *entries = (struct entries){0};
}

struct raft_entry *entries_for_raft(const struct entries *entries) {
    size_t size = 0;
    for (unsigned i = 0; i < entries->count; i++) size += entries->all[i].size;
    if (entries->count == 0) return NULL;
    struct raft_entry *copies = raft_calloc(entries->count, sizeof *copies);
    char *batch = raft_malloc(size + 1);
    if (copies == NULL || batch == NULL) {
        raft_free(copies);
        raft_free(batch);
        return NULL;
    }
    char *next = batch;
    for (unsigned i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->all[i];
        copies[i].term = entry->term;
        copies[i].type = entry->kind;
        copies[i].buf.base = next;
        copies[i].buf.len = entry->size;
        copies[i].batch = batch;
        memcpy(next, entry->data, entry->size);
        next += entry->size;
    }
    return copies;
}

// The code of a configuration: 1, the number of members (u64), and for each id (u64), address with its end, role (u8).
static void describe_members(const unsigned char *bytes, size_t size, struct rig_entry *entry) {
    uint64_t count;
    if (size < 1 + sizeof count) return;
    memcpy(&count, bytes + 1, sizeof count);
    size_t at = 1 + sizeof count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id;
        if (size - at < sizeof id) return;
        memcpy(&id, bytes + at, sizeof id);
        const unsigned char *address = bytes + at + sizeof id;
        const unsigned char *end = memchr(address, 0, size - at - sizeof id);
        if (end == NULL || (size_t)(end + 2 - bytes) > size) return;
        uint32_t bit = id <= RIG_SERVERS ? 1u << id : 0;
        if (end[1] == RIG_VOTER) entry->voters |= bit;
        if (end[1] == RIG_STANDBY) entry->standbys |= bit;
        if (end[1] == RIG_SPARE) entry->spares |= bit;
        at = (size_t)(end + 2 - bytes);
    }
}

void describe(uint64_t index, uint64_t term, unsigned kind, const void *data, size_t size, struct rig_entry *entry) {
    *entry = (struct rig_entry){.index = index, .term = term, .kind = kind};
    if (kind == RIG_COMMAND && size >= sizeof entry->value) memcpy(&entry->value, data, sizeof entry->value);
    if (kind == RIG_CHANGE) describe_members(data, size, entry);
}

uint32_t members_with(const struct raft_configuration *configuration, int role) {
    uint32_t members = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        if (server->role == role && server->id <= RIG_SERVERS) members |= 1u << server->id;
    }
    return members;
}
