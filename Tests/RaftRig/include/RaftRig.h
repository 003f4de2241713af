// Several servers of the installed libraft in one process, for tests. Nothing moves by itself: the caller says what time it is,
// which message arrives, and which write the disk has finished, so that a run can be repeated. No threads, no sleeping, no files.
//
// Servers have the numbers 1 to RIG_SERVERS. What a server has on its disk survives a crash; the disk is a piece of memory. What
// returns int answers 0, or a code of libraft (raft_strerror), unless it says otherwise. A function that takes the number of a
// server which there is not, or one that is down where it has to run, answers RIG_NO_SUCH.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RIG_SERVERS = 7, RIG_NO_SUCH = -1 };

// Roles, by libraft's numbers.
enum { RIG_STANDBY = 0, RIG_VOTER = 1, RIG_SPARE = 2, RIG_NO_MEMBER = 3 };

// What a server is.
enum { RIG_UNAVAILABLE = 0, RIG_FOLLOWER = 1, RIG_CANDIDATE = 2, RIG_LEADER = 3, RIG_DOWN = 4 };

// Kinds of messages, by libraft's numbers.
enum { RIG_APPEND = 1, RIG_RESULT = 2, RIG_REQUEST_VOTE = 3, RIG_VOTE = 4, RIG_SNAPSHOT = 5, RIG_TIMEOUT_NOW = 6 };

// Kinds of entries, by libraft's numbers.
enum { RIG_COMMAND = 1, RIG_BARRIER = 2, RIG_CHANGE = 3 };

struct rig;

struct rig_entry {
    uint64_t index;
    uint64_t term;
    unsigned kind;
    // Of a command: what the client wrote.
    uint64_t value;
    // Of a change: bit n is set for server n.
    uint32_t voters, standbys, spares;
};

// A message on its way, and what is in it; what its kind does not have is 0.
struct rig_message {
    // Names it in the calls below.
    uint64_t number;
    unsigned kind, from, to;
    uint64_t term;
    // Before the entries of an append; the end of the sender's log of everything else.
    uint64_t index;
    uint64_t index_term;
    uint64_t commit;
    // How many entries an append has, and the term of the last.
    unsigned entries;
    uint64_t last_term;
    // Of a result: 0 for success.
    uint64_t rejected;
    bool granted, pre_vote, disrupts;
};

struct rig_state {
    unsigned role;
    uint64_t term;
    uint64_t voted_for;
    // Whom a follower follows; 0 for nobody.
    uint64_t leader;
    // The log in memory, how much of it the disk has as libraft believes, and how much is committed and applied.
    uint64_t last_index, last_term, stored, committed, applied;
    // The configuration: bit n is set for server n.
    uint32_t voters, standbys, spares;
    // The target of a transfer that is pending; 0 for none.
    uint64_t transfer_to;
};

struct rig_disk {
    uint64_t term;
    uint64_t voted_for;
    uint64_t last_index;
};

// What became of a request of a client.
struct rig_outcome {
    uint64_t ticket;
    unsigned server;
    // 0 for success, else a code of libraft.
    int status;
    // Of a write: its index, and the term in which it was made.
    uint64_t index, term;
    uint64_t value;
};

// Servers 1 to count, all down, each with entry 1 of term 1 on its disk if it is a member: the configuration that roles say.
// Election timers are drawn from seed; with 0 they always are as short as they can be. NULL when there is no memory, or more
// servers are wanted than there may be.
struct rig *rig_make(const uint8_t roles[], unsigned count, uint64_t seed);

// Ends all and frees it. NULL is fine.
void rig_free(struct rig *rig);

// The time of all servers, in milliseconds.
void rig_set_time(struct rig *rig, uint64_t milliseconds);

// Starts a server from its disk, with libdqlite's settings and timeouts of 450 ms for an election and 45 ms for a heartbeat.
int rig_start(struct rig *rig, unsigned id);

// Ends a server. The first `kept` operations of its disk are done all the same, without its ever hearing of it; what it has sent
// and nobody has taken is lost.
int rig_crash(struct rig *rig, unsigned id, unsigned kept);

// The server looks at the time; libraft wants that once in a heartbeat.
int rig_tick(struct rig *rig, unsigned id);

// Takes the oldest message that a server has sent and nobody has taken yet. It is the caller's then, to deliver or to drop.
// false when there is none.
bool rig_take(struct rig *rig, unsigned from, struct rig_message *message);

// An entry of an append that was taken and is still there, counted from 0.
bool rig_message_entry(struct rig *rig, uint64_t number, unsigned position, struct rig_entry *entry);

// Hands a message to its receiver; one that is down hears nothing. The message is gone afterwards, whatever is answered.
int rig_deliver(struct rig *rig, uint64_t number);

int rig_drop(struct rig *rig, uint64_t number);

// Makes another of a message that was taken; its number is 0 when there is no such message, or no memory.
uint64_t rig_repeat(struct rig *rig, uint64_t number);

// Makes a TimeoutNow in the name of `from`, as if it had been taken; its number is 0 when there is no memory.
uint64_t rig_forge_timeout_now(
    struct rig *rig, unsigned from, unsigned to, uint64_t term, uint64_t index, uint64_t index_term);

// The same for an append without entries that follows an index.
uint64_t rig_forge_heartbeat(struct rig *rig, unsigned from, unsigned to, uint64_t term, uint64_t index);

// The oldest operation of a server's disk ends. false when there is none.
bool rig_write(struct rig *rig, unsigned id);

// A client's requests to a server. What becomes of one that was taken is told by rig_outcome, under its ticket.
int rig_apply(struct rig *rig, unsigned id, uint64_t value, uint64_t *ticket);
int rig_add(struct rig *rig, unsigned id, unsigned member, uint64_t *ticket);
int rig_assign(struct rig *rig, unsigned id, unsigned member, unsigned role, uint64_t *ticket);
int rig_remove(struct rig *rig, unsigned id, unsigned member, uint64_t *ticket);
int rig_transfer(struct rig *rig, unsigned id, unsigned member, uint64_t *ticket);

// The oldest outcome that nobody has taken. false when there is none.
bool rig_outcome(struct rig *rig, struct rig_outcome *outcome);

// What a server is. One that is down has its role only.
bool rig_read(struct rig *rig, unsigned id, struct rig_state *state);

// Two parts of that, which are asked for often: the role, and how many writes the disk has not finished.
unsigned rig_role(struct rig *rig, unsigned id);
unsigned rig_writes(struct rig *rig, unsigned id);

// An entry of the log in memory, and of that on the disk. false when there is none.
bool rig_log(struct rig *rig, unsigned id, uint64_t index, struct rig_entry *entry);
bool rig_disk_log(struct rig *rig, unsigned id, uint64_t index, struct rig_entry *entry);
bool rig_read_disk(struct rig *rig, unsigned id, struct rig_disk *disk);

// How many commands a server has applied since it was started, and one of them, counted from 0.
size_t rig_applied_count(struct rig *rig, unsigned id);
bool rig_applied(struct rig *rig, unsigned id, size_t position, struct rig_entry *entry);

// Delivers a message and ticks its receiver at a later time, in a child of this process: for what ends a process.
// Answers the signal that ended the child, 0 when it lived, RIG_NO_SUCH when there is no such message or no child.
int rig_signal_of(struct rig *rig, uint64_t number, uint64_t milliseconds);
