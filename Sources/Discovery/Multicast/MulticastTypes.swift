import Platform

/// The bounds of multicast discovery. Tests shorten some.
struct MulticastLimits: Hashable, Sendable {
    /// How long a look-up lasts when some do not answer: half the time between two of the bootstrap.
    var lookUp: Duration = .milliseconds(250)
    /// A look-up in which everybody known has answered ends when nobody new did for so long.
    var quiet: Duration = .milliseconds(60)
    /// After which a look-up asks once more, because a datagram may have been lost.
    var askAgain: Duration = .milliseconds(100)
    /// How long an address is told on after its node answered last.
    var heardFor: Duration = .seconds(10)
    /// How long an answer to a question is believed.
    var nonceLife: Duration = .seconds(2)
    /// How long after its last look-up a node still wants to hear of new ones at once.
    var interest: Duration = .seconds(3)
    /// How long what keeps others from being found is told in the status after it was last seen; and how long it must
    /// not have been seen to be logged as new.
    var troubleShownFor: Duration = .seconds(10)
    var troubleFor: Duration = .seconds(60)
    /// How long a question waits for its answer when many ask.
    var questionLife: Duration = .milliseconds(500)

    /// Nodes remembered, of all and of one source address: without a secret anybody can invent nodes.
    var nodes = 128
    var nodesPerSource = 8
    /// Questions that wait for an answer.
    var waiting = 128
    /// Own questions whose answers are believed, and others' that were seen.
    var ownNonces = 32
    var seenNonces = 256
    /// Sources whose questions are counted.
    var sources = 256
    /// Kinds and sources of trouble: of more, nobody would read.
    var troubles = 16

    /// Answers, each of which serves up to 16 questions.
    var answers = RateLimit(burst: 8, every: .milliseconds(50))
    /// Questions of one source that are answered.
    var questionsOfSource = RateLimit(burst: 20, every: .milliseconds(50))
    /// Questions that a look-up asks.
    var questions = RateLimit(burst: 6, every: .milliseconds(100))
    /// Questions that something else made us ask: others' questions among them, so that these cannot exhaust our own.
    var promptedQuestions = RateLimit(burst: 2, every: .milliseconds(500))
    var notices = RateLimit(burst: 4, every: .seconds(2))
    /// Lines of log.
    var notes = RateLimit(burst: 32, every: .seconds(5))
}

/// What `MulticastCore` is told.
enum MulticastEvent: Hashable, Sendable {
    /// What others shall find of this node from now on; nil for nothing.
    case announce(MulticastRecord?)
    case lookUp
    /// The socket is open, for the first time or again: what was sent before may not have been heard.
    case connected
    case datagram([UInt8], from: IPAddress)
    /// `nextDeadline` is there.
    case tick
}

/// What the owner of a `MulticastCore` has to do.
enum MulticastDirective: Hashable, Sendable {
    /// Send to the group.
    case send([UInt8])
    /// The look-up that was wanted is over. The addresses are distinct and sorted; `trouble` is what may keep others from
    /// being among them.
    case found([HostPort], trouble: MulticastNote?)
    /// Log it; said once for each change.
    case note(MulticastNote)
}

/// What a person should know.
enum MulticastNote: Hashable, Sendable, CustomStringConvertible {
    case found(MulticastRecord)
    case mismatch(MulticastMismatch, from: IPAddress)
    /// Another process answers with our node id.
    case sameNode(MulticastRecord, from: IPAddress)
    /// The announcement has a text that no datagram can carry.
    case unspeakable(MulticastRecord)

    var isWarning: Bool { if case .found = self { false } else { true } }

    var description: String {
        switch self {
        case .found(let record):
            let name = record.name.isEmpty ? record.nodeID : record.name
            return "found \(name) at \(record.address)"
        case .mismatch(let mismatch, let source):
            let same = "give all nodes of a cluster the same \"secret\" in --disco-config"
            switch mismatch {
            case .otherSecret: return "the node at \(source) uses another secret for discovery than this one: \(same)"
            case .noSecretThere:
                return "the node at \(source) uses no secret for discovery, and this one does: \(same)"
            case .noSecretHere:
                return "the node at \(source) uses a secret for discovery, and this one does not: \(same)"
            }
        case .sameNode(let record, let source):
            return
                "a node at \(source) with the cluster address \(record.address) has this node's id \(record.nodeID): "
                + "was the data directory copied? Empty it on one of the two"
        case .unspeakable(let record):
            return "this node cannot be announced: its id (\(record.nodeID.utf8.count) bytes), its cluster id or its "
                + "address \(record.address) is empty, too long, or none that others could use"
        }
    }
}

/// How many datagrams came, by what became of them.
struct MulticastCounts: Hashable, Sendable {
    /// Our own, which the kernel hands back to us.
    var own = 0
    /// Other protocols, versions and disco keys.
    var foreign = 0
    var malformed = 0
    /// Under our key, with another secret or none.
    var mismatched = 0
    /// Questions that were, or will be, answered, if we announce anything.
    var questions = 0
    /// Questions that came twice, or too many.
    var refusedQuestions = 0
    /// Answers to a question of ours.
    var answers = 0
    /// Answers to others' questions, and to old ones of ours: those that somebody recorded, too.
    var otherAnswers = 0
    /// From nodes that cannot believe us.
    var notices = 0
}
