// What passes between servers, and what clients ask of them.
#include "rig.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server *running(struct rig *rig, unsigned id) {
    if (rig == NULL || id < 1 || id > rig->count || !rig->servers[id].is_up) return NULL;
    return &rig->servers[id];
}

// MARK: - Messages

bool rig_take(struct rig *rig, unsigned from, struct rig_message *head) {
    struct server *server = running(rig, from);
    struct message *message = server != NULL ? server->sent.first : NULL;
    if (message == NULL) return false;
    server->sent.first = message->next;
    if (server->sent.first == NULL) server->sent.last = NULL;
    queue_add(&rig->taken, message);
    // libraft's part is done when the bytes are written.
    if (message->done != NULL) message->done(message->request, 0);
    message->done = NULL;
    message->request = NULL;
    *head = message->head;
    return true;
}

static struct message *remove_taken(struct rig *rig, uint64_t number) {
    struct message *before = NULL;
    for (struct message *message = rig->taken.first; message != NULL; before = message, message = message->next) {
        if (message->head.number != number) continue;
        if (before != NULL) before->next = message->next;
        else rig->taken.first = message->next;
        if (rig->taken.last == message) rig->taken.last = before;
        return message;
    }
    return NULL;
}

bool rig_message_entry(struct rig *rig, uint64_t number, unsigned position, struct rig_entry *entry) {
    for (struct message *message = rig->taken.first; message != NULL; message = message->next) {
        if (message->head.number != number) continue;
        if (position >= message->entries.count) return false;
        const struct entry *found = &message->entries.all[position];
        describe(message->head.index + 1 + position, found->term, found->kind, found->data, found->size, entry);
        return true;
    }
    return false;
}

static int deliver(struct rig *rig, struct message *message) {
    struct server *server = running(rig, message->head.to);
    if (server == NULL) return 0;
    struct raft_message raft = message->raft;
    raft.server_id = message->head.from;
    raft.server_address = rig->servers[message->head.from].address;
    if (raft.type == RAFT_IO_APPEND_ENTRIES) {
        raft.append_entries.n_entries = message->entries.count;
        raft.append_entries.entries = entries_for_raft(&message->entries);
        if (message->entries.count > 0 && raft.append_entries.entries == NULL) return RAFT_NOMEM;
    }
    server->receive(&server->io, &raft);
    return 0;
}

int rig_deliver(struct rig *rig, uint64_t number) {
    struct message *message = remove_taken(rig, number);
    if (message == NULL) return RIG_NO_SUCH;
    int status = deliver(rig, message);
    message_free(message);
    return status;
}

int rig_drop(struct rig *rig, uint64_t number) {
    struct message *message = remove_taken(rig, number);
    if (message == NULL) return RIG_NO_SUCH;
    message_free(message);
    return 0;
}

uint64_t rig_repeat(struct rig *rig, uint64_t number) {
    for (struct message *message = rig->taken.first; message != NULL; message = message->next) {
        if (message->head.number != number) continue;
        struct message *copy = calloc(1, sizeof *copy);
        if (copy == NULL) return 0;
        *copy = *message;
        copy->entries = (struct entries){0};
        if (!entries_copy_own(&copy->entries, &message->entries)) {
            message_free(copy);
            return 0;
        }
        copy->head.number = ++rig->last_number;
        queue_add(&rig->taken, copy);
        return copy->head.number;
    }
    return 0;
}

uint64_t rig_forge_timeout_now(
    struct rig *rig, unsigned from, unsigned to, uint64_t term, uint64_t index, uint64_t index_term) {
    struct message *message = from >= 1 && from <= rig->count ? calloc(1, sizeof *message) : NULL;
    if (message == NULL) return 0;
    message->raft.type = RAFT_IO_TIMEOUT_NOW;
    message->raft.timeout_now =
        (struct raft_timeout_now){.term = term, .last_log_index = index, .last_log_term = index_term};
    message->head = (struct rig_message){
        .number = ++rig->last_number, .kind = RIG_TIMEOUT_NOW, .from = from, .to = to,
        .term = term, .index = index, .index_term = index_term};
    queue_add(&rig->taken, message);
    return message->head.number;
}

uint64_t rig_forge_heartbeat(struct rig *rig, unsigned from, unsigned to, uint64_t term, uint64_t index) {
    struct message *message = from >= 1 && from <= rig->count ? calloc(1, sizeof *message) : NULL;
    if (message == NULL) return 0;
    message->raft.type = RAFT_IO_APPEND_ENTRIES;
    message->raft.append_entries =
        (struct raft_append_entries){.term = term, .prev_log_index = index, .prev_log_term = term};
    message->head = (struct rig_message){
        .number = ++rig->last_number, .kind = RIG_APPEND, .from = from, .to = to,
        .term = term, .index = index, .index_term = term, .last_term = term};
    queue_add(&rig->taken, message);
    return message->head.number;
}

// Nothing here but what may be called in the child of a process with threads.
int rig_signal_of(struct rig *rig, uint64_t number, uint64_t milliseconds) {
    struct message *message = remove_taken(rig, number);
    if (message == NULL) return RIG_NO_SUCH;
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
        deliver(rig, message);
        rig->now = milliseconds;
        rig_tick(rig, message->head.to);
        _exit(0);
    }
    message_free(message);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return RIG_NO_SUCH;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// MARK: - Clients

// A request of a client, and its outcome.
struct request {
    union {
        struct raft_apply apply;
        struct raft_change change;
        struct raft_transfer transfer;
    };
    struct rig *rig;
    struct outcome *outcome;
};

static struct request *ask(struct rig *rig, unsigned id, uint64_t *ticket) {
    struct request *request = calloc(1, sizeof *request);
    struct outcome *outcome = calloc(1, sizeof *outcome);
    if (request == NULL || outcome == NULL) {
        free(request);
        free(outcome);
        return NULL;
    }
    request->rig = rig;
    request->outcome = outcome;
    request->apply.data = request->change.data = request->transfer.data = request;
    outcome->is.ticket = ++rig->last_number;
    outcome->is.server = id;
    *ticket = outcome->is.ticket;
    return request;
}

static int forget(struct request *request, int status) {
    if (status == 0) return 0;
    free(request->outcome);
    free(request);
    return status;
}

static void ends(struct request *request, int status) {
    struct rig *rig = request->rig;
    struct outcome *outcome = request->outcome;
    outcome->is.status = status;
    if (rig->last != NULL) rig->last->next = outcome;
    else rig->first = outcome;
    rig->last = outcome;
    free(request);
}

static void applied(struct raft_apply *apply, int status, void *result) {
    (void)result;
    ends(apply->data, status);
}

static void changed(struct raft_change *change, int status) { ends(change->data, status); }

static void transferred(struct raft_transfer *transfer) { ends(transfer->data, 0); }

int rig_apply(struct rig *rig, unsigned id, uint64_t value, uint64_t *ticket) {
    struct server *server = running(rig, id);
    if (server == NULL) return RIG_NO_SUCH;
    struct request *request = ask(rig, id, ticket);
    struct raft_buffer buffer = {.base = raft_malloc(sizeof value), .len = sizeof value};
    if (request == NULL || buffer.base == NULL) {
        raft_free(buffer.base);
        return request == NULL ? RAFT_NOMEM : forget(request, RAFT_NOMEM);
    }
    memcpy(buffer.base, &value, sizeof value);
    request->outcome->is.value = value;
    request->outcome->is.term = server->raft.current_term;
    request->outcome->is.index = raft_last_index(&server->raft) + 1;
    int status = raft_apply(&server->raft, &request->apply, &buffer, 1, applied);
    if (status != 0) raft_free(buffer.base);
    return forget(request, status);
}

int rig_add(struct rig *rig, unsigned id, unsigned member, uint64_t *ticket) {
    struct server *server = running(rig, id);
    if (server == NULL || member < 1 || member > rig->count) return RIG_NO_SUCH;
    struct request *request = ask(rig, id, ticket);
    if (request == NULL) return RAFT_NOMEM;
    const char *address = rig->servers[member].address;
    return forget(request, raft_add(&server->raft, &request->change, member, address, changed));
}

int rig_assign(struct rig *rig, unsigned id, unsigned member, unsigned role, uint64_t *ticket) {
    struct server *server = running(rig, id);
    if (server == NULL) return RIG_NO_SUCH;
    struct request *request = ask(rig, id, ticket);
    if (request == NULL) return RAFT_NOMEM;
    return forget(request, raft_assign(&server->raft, &request->change, member, (int)role, changed));
}

int rig_remove(struct rig *rig, unsigned id, unsigned member, uint64_t *ticket) {
    struct server *server = running(rig, id);
    if (server == NULL) return RIG_NO_SUCH;
    struct request *request = ask(rig, id, ticket);
    if (request == NULL) return RAFT_NOMEM;
    return forget(request, raft_remove(&server->raft, &request->change, member, changed));
}

int rig_transfer(struct rig *rig, unsigned id, unsigned member, uint64_t *ticket) {
    struct server *server = running(rig, id);
    if (server == NULL) return RIG_NO_SUCH;
    struct request *request = ask(rig, id, ticket);
    if (request == NULL) return RAFT_NOMEM;
    return forget(request, raft_transfer(&server->raft, &request->transfer, member, transferred));
}

bool rig_outcome(struct rig *rig, struct rig_outcome *outcome) {
    struct outcome *first = rig->first;
    if (first == NULL) return false;
    rig->first = first->next;
    if (rig->first == NULL) rig->last = NULL;
    *outcome = first->is;
    free(first);
    return true;
}
