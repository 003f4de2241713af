import Platform

/// The proof that this node leads, as the ownership of addresses sees it.
public struct Lease: Sendable, Hashable {
    /// The raft term in which it leads.
    public var term: UInt64
    /// The instant up to which no other node can lead; margins are taken off already.
    public var end: BootInstant

    public init(term: UInt64, end: BootInstant) {
        self.term = term
        self.end = end
    }
}

/// Gives the lease of this moment; nil when this node does not lead.
///
/// It is asked right before every system call that sets or announces an address, many times a second and from a thread
/// that must not wait: it reads, and does nothing else.
public typealias LeaseSource = @Sendable () -> Lease?
