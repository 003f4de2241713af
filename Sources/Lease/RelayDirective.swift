import Platform

/// What a relay has to do besides passing a frame on or not. To be carried out in the order given, before the frame that they come
/// with: the lease is over before the vote leaves that ends it.
public enum RelayDirective: Sendable, Equatable {
    /// The lease has begun, ended or got another end: whoever acts on it has to know before anything else is done.
    case leaseMoved
    /// A lease that there is ends now, for that reason.
    case leaseLost(LeaseLoss)
    /// This node begins to lead the term: its members are to be read.
    case leads(term: UInt64)
    /// This node is about to ask another to stand in its place.
    case transfers(to: VoterID)
    /// The node that was asked to stand has said that it cannot.
    case declined(by: VoterID, term: UInt64)
    /// A peer's request to stand in its place goes to the local node.
    case askedToStand(by: VoterID, term: UInt64)
    /// The local node stands: raft's timer went off, or another leader has asked it to.
    case stands(ElectionCause)
    /// The local node is going to be told to stand, in place of the leader that it followed.
    case decided(SuccessionCore.Reason)
    /// The members have changed, or are about to: they are to be read.
    case readMembers
    /// A vote that was kept back leaves now.
    case release(VoteTicket)
    /// A vote that was kept back never leaves.
    case discard(VoteTicket)
    /// Something is said to a peer on the connection that this node has made to it.
    case tell(VoterID, PeerMessage)
    /// Something is said to every peer.
    case tellAll(PeerMessage)
    /// A peer is answered, on the connection that it has made.
    case answer(VoterID, PeerMessage)
    /// The local node is told to stand, in the leader's name, with the position of the log that the leader said last.
    case inject(VoterID, term: UInt64, LogPosition)
    /// Connect to the port of that process, after so long, and say by `probed` what came of it.
    case probe(VoteGate.LeaderProcess, after: Duration)
    /// What is known of leaders whose process ended has changed.
    case predecessorsChanged
    /// Raft is broken; for the operator.
    case alarm(RelayAlarm)
}

/// Why a lease ended.
public enum LeaseLoss: String, Sendable, Hashable, CaseIterable {
    /// No majority acknowledged anything in time.
    case expired
    /// This node voted for another.
    case surrendered
    /// This node asked another to lead.
    case transferred
    /// A raft stream cannot be understood any more.
    case unreadable
    /// The local node was stopped.
    case stopped
}

/// Why the local node stands without having been told to by its relay.
public enum ElectionCause: String, Sendable, Hashable {
    case transferred, timeout
}

/// A vote that is kept back.
public typealias VoteTicket = UInt64

/// What cannot be with a raft that works.
public enum RelayAlarm: Sendable, Hashable {
    /// Two nodes say that they lead one term: the first is believed, and the second is not heard.
    case twoLeaders(term: UInt64, first: VoterID, second: VoterID)
    /// The local node has voted for a second candidate of one term; the vote was kept from leaving.
    case secondVote(term: UInt64, candidate: VoterID)
}

/// What becomes of a frame of the local node.
public enum Passage: Sendable, Equatable {
    /// It is passed on. `acknowledging` goes with it, in one packet.
    case pass(wantsPromise: Bool, acknowledging: PeerMessage?)
    /// It is kept until `RelayDirective.release` or `.discard` names the ticket.
    case hold(VoteTicket)
    case drop
}

/// What becomes of a frame of a peer.
public enum Reception: Sendable, Equatable {
    /// It is handed to the local node, and then acknowledged if so.
    case hand(acknowledges: Bool)
    case drop
}
