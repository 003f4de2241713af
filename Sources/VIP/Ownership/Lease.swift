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

/// Gives the lease on which the ownership may act at this moment; nil when there is none. In the simplest case it is that of
/// the `LeaseCell`; where more is needed to act than to lead, it says nil until that is so.
///
/// It is asked right before every system call that sets or announces an address, many times a second and from a thread
/// that must not wait: it reads, and may tell the cell what it read.
public typealias LeaseSource = @Sendable () -> Lease?
