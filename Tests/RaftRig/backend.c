// What libraft calls: a disk whose operations wait until the caller ends them, a network that keeps messages, a clock that is set.
#include "rig.h"
#include <stdlib.h>
#include <string.h>

static struct server *of(const struct raft_io *io) { return io->impl; }

static int init(struct raft_io *io, raft_id id, const char *address) {
    (void)io, (void)id, (void)address;
    return 0;
}

static int start(struct raft_io *io, unsigned milliseconds, raft_io_tick_cb tick, raft_io_recv_cb receive) {
    (void)milliseconds;
    of(io)->tick = tick;
    of(io)->receive = receive;
    return 0;
}

static int no_configuration(struct raft_io *io, const struct raft_configuration *configuration) {
    (void)io, (void)configuration;
    return RAFT_INVALID;
}

// MARK: - Disk

static int load(
    struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot, raft_index *start_index,
    struct raft_entry *entries[], size_t *count) {
    const struct disk *disk = &of(io)->disk;
    *term = disk->term;
    *voted_for = disk->voted_for;
    *snapshot = NULL;
    *start_index = 1;
    *count = disk->log.count;
    *entries = entries_for_raft(&disk->log);
    return *count > 0 && *entries == NULL ? RAFT_NOMEM : 0;
}

static int set_term(struct raft_io *io, raft_term term) {
    of(io)->disk.term = term;
    of(io)->disk.voted_for = 0;
    return 0;
}

static int set_vote(struct raft_io *io, raft_id voted_for) {
    of(io)->disk.voted_for = voted_for;
    return 0;
}

static struct operation *plan(struct server *server) {
    struct operation *operation = calloc(1, sizeof *operation);
    if (operation == NULL) return NULL;
    if (server->last != NULL) server->last->next = operation;
    else server->first = operation;
    server->last = operation;
    return operation;
}

static int append(
    struct raft_io *io, struct raft_io_append *request, const struct raft_entry entries[], unsigned count,
    raft_io_append_cb done) {
    struct entries copies = {0};
    struct operation *operation = entries_copy(&copies, entries, count) ? plan(of(io)) : NULL;
    if (operation == NULL) {
        entries_free(&copies);
        return RAFT_NOMEM;
    }
    operation->appends = copies;
    operation->request = request;
    operation->done = done;
    return 0;
}

// Waits its turn behind what was to be appended before.
static int truncate_at(struct raft_io *io, raft_index index) {
    struct operation *operation = plan(of(io));
    if (operation == NULL) return RAFT_NOMEM;
    operation->truncates_at = index;
    return 0;
}

// Ends the oldest operation. One that cuts the log off has nobody waiting for it: the one behind it ends, too.
bool backend_finish(struct server *server, bool tells) {
    for (;;) {
        struct operation *operation = server->first;
        if (operation == NULL) return false;
        server->first = operation->next;
        if (server->first == NULL) server->last = NULL;
        bool isAppend = operation->truncates_at == 0;
        int status = 0;
        if (isAppend) status = entries_append(&server->disk.log, &operation->appends) ? 0 : RAFT_NOMEM;
        else entries_cut(&server->disk.log, operation->truncates_at);
        if (isAppend && tells) {
            operation->done(operation->request, status);
        } else if (isAppend) {
            // libraft's part is freed when the server closes.
            operation->next = server->lost;
            server->lost = operation;
            return true;
        }
        entries_free(&operation->appends);
        free(operation);
        if (isAppend) return true;
    }
}

// MARK: - Network

static void describe_message(const struct raft_message *raft, const struct entries *entries, struct rig_message *head) {
    head->kind = raft->type;
    switch (raft->type) {
    case RAFT_IO_APPEND_ENTRIES:
        head->term = raft->append_entries.term;
        head->index = raft->append_entries.prev_log_index;
        head->index_term = raft->append_entries.prev_log_term;
        head->commit = raft->append_entries.leader_commit;
        head->entries = entries->count;
        head->last_term = entries->count > 0 ? entries->all[entries->count - 1].term : head->index_term;
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        head->term = raft->append_entries_result.term;
        head->index = raft->append_entries_result.last_log_index;
        head->rejected = raft->append_entries_result.rejected;
        break;
    case RAFT_IO_REQUEST_VOTE:
        head->term = raft->request_vote.term;
        head->index = raft->request_vote.last_log_index;
        head->index_term = raft->request_vote.last_log_term;
        head->pre_vote = raft->request_vote.pre_vote;
        head->disrupts = raft->request_vote.disrupt_leader;
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        head->term = raft->request_vote_result.term;
        head->granted = raft->request_vote_result.vote_granted;
        head->pre_vote = raft->request_vote_result.pre_vote == raft_tribool_true;
        break;
    case RAFT_IO_TIMEOUT_NOW:
        head->term = raft->timeout_now.term;
        head->index = raft->timeout_now.last_log_index;
        head->index_term = raft->timeout_now.last_log_term;
        break;
    default: break;
    }
}

static int send_message(
    struct raft_io *io, struct raft_io_send *request, const struct raft_message *raft, raft_io_send_cb done) {
    struct server *server = of(io);
    // A report to a leader that libraft does not know (DOC/LIBRAFT.md, C1): its own network code dies of it.
    if (raft->server_id == 0 || raft->server_id > RIG_SERVERS) return RAFT_NOCONNECTION;
    struct message *message = calloc(1, sizeof *message);
    if (message == NULL) return RAFT_NOMEM;
    message->raft = *raft;
    if (raft->type == RAFT_IO_APPEND_ENTRIES
        && !entries_copy(&message->entries, raft->append_entries.entries, raft->append_entries.n_entries)) {
        message_free(message);
        return RAFT_NOMEM;
    }
    message->head.number = ++server->rig->last_number;
    message->head.from = server->id;
    message->head.to = (unsigned)raft->server_id;
    describe_message(raft, &message->entries, &message->head);
    message->request = request;
    message->done = done;
    queue_add(&server->sent, message);
    return 0;
}

void message_free(struct message *message) {
    entries_free(&message->entries);
    free(message);
}

void queue_add(struct queue *queue, struct message *message) {
    message->next = NULL;
    if (queue->last != NULL) queue->last->next = message;
    else queue->first = message;
    queue->last = message;
}

// MARK: - The rest

// What waits is told to libraft as done, which frees it; libraft has left its state by then and draws nothing from it. (As
// failed it would cut its log off, once for each write.)
static void close_backend(struct raft_io *io, raft_io_close_cb done) {
    struct server *server = of(io);
    struct operation *lost = server->lost;
    server->lost = NULL;
    while (lost != NULL || server->first != NULL) {
        struct operation **head = lost != NULL ? &lost : &server->first;
        struct operation *operation = *head;
        *head = operation->next;
        if (operation->done != NULL) operation->done(operation->request, 0);
        entries_free(&operation->appends);
        free(operation);
    }
    server->last = NULL;
    while (server->sent.first != NULL) {
        struct message *message = server->sent.first;
        server->sent.first = message->next;
        if (message->done != NULL) message->done(message->request, RAFT_CANCELED);
        message_free(message);
    }
    server->sent.last = NULL;
    if (done != NULL) done(io);
}

static int no_put(
    struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request, const struct raft_snapshot *snapshot,
    raft_io_snapshot_put_cb done) {
    (void)io, (void)trailing, (void)request, (void)snapshot, (void)done;
    return RAFT_INVALID;
}

static int no_get(struct raft_io *io, struct raft_io_snapshot_get *request, raft_io_snapshot_get_cb done) {
    (void)io, (void)request, (void)done;
    return RAFT_INVALID;
}

static raft_time now(struct raft_io *io) { return of(io)->rig->now; }

static int random_between(struct raft_io *io, int least, int most) {
    uint64_t *random = &of(io)->rig->random;
    if (*random == 0 || most <= least) return least;
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return least + (int)(*random % (uint64_t)(most - least + 1));
}

void backend_make(struct server *server) {
    server->io = (struct raft_io){
        .version = 1,
        .impl = server,
        .init = init,
        .close = close_backend,
        .load = load,
        .start = start,
        .bootstrap = no_configuration,
        .recover = no_configuration,
        .set_term = set_term,
        .set_vote = set_vote,
        .send = send_message,
        .append = append,
        .truncate = truncate_at,
        .snapshot_put = no_put,
        .snapshot_get = no_get,
        .time = now,
        .random = random_between,
    };
}
