import Platform

/// What the client of the VIP saw.
public struct ProbeRecord: Sendable {
    public struct Reply: Equatable, Sendable {
        public var sentAt: BootInstant
        public var receivedAt: BootInstant
        /// Who answered, 1...n.
        public var node: Int

        public init(sentAt: BootInstant, receivedAt: BootInstant, node: Int) {
            self.sentAt = sentAt
            self.receivedAt = receivedAt
            self.node = node
        }

        /// Takes a datagram of a responder: our eight bytes of time, and the node's number.
        init?(_ bytes: [UInt8], receivedAt: BootInstant) {
            guard bytes.count == 9 else { return nil }
            let nanoseconds = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            sentAt = BootInstant(nanoseconds: Int64(bitPattern: nanoseconds))
            self.receivedAt = receivedAt
            node = Int(bytes[8])
        }
    }

    /// A time in which the probe itself was not scheduled.
    public struct Stall: Equatable, Sendable {
        public var end: BootInstant
        public var length: Duration
    }

    static let stallTicks: UInt64 = 20

    public var replies: [Reply] = []
    public var stalls: [Stall] = []
    /// When each question was handed to the kernel.
    public var questions: [BootInstant] = []
    /// Questions that it refused, for instance with ENETUNREACH.
    public var refused = 0

    public init() {}
}

/// A fail-over as the client saw it.
public struct FailoverView: Equatable, Sendable {
    /// The node that answered last before the fault.
    public var before: Int?
    /// The node that answered last in the window.
    public var after: Int?
    /// From the fault to the first answer of another node; nil when none came.
    public var takeover: Duration?
    /// The longest time without any answer around the fault.
    public var outage: Duration
    /// Nobody answered any more at the end of the window.
    public var isOpen: Bool
    /// Questions asked in the window from the fault on that were not answered in it.
    public var lost: Int
    /// How often the answering node changed.
    public var changes: Int
    /// The longest time in which the probe itself did not run.
    public var stall: Duration

    /// Looks at the window from `lead` before the fault to `end`.
    public init(
        _ record: ProbeRecord, fault: BootInstant, end: BootInstant, lead: Duration = .milliseconds(100)
    ) {
        let start = fault.advanced(by: .zero - lead)
        let replies = record.replies.filter { $0.receivedAt >= start && $0.receivedAt <= end }
        before = record.replies.last { $0.receivedAt < fault }?.node
        after = replies.last?.node
        let old = before
        takeover = replies.first { $0.receivedAt >= fault && $0.node != old }.map { fault.duration(to: $0.receivedAt) }
        let times = [start] + replies.map(\.receivedAt) + [end]
        outage = zip(times, times.dropFirst()).map { $0.duration(to: $1) }.max() ?? .zero
        isOpen = (replies.last?.receivedAt ?? start).duration(to: end) > .milliseconds(500)
        let asked = record.questions.count { $0 >= fault && $0 <= end }
        lost = max(0, asked - replies.count { $0.sentAt >= fault })
        changes = zip(replies, replies.dropFirst()).count { $0.node != $1.node }
        stall = record.stalls.filter { $0.end >= start && $0.end <= end }.map(\.length).max() ?? .zero
    }
    /// Whether a client missed the address for longer; what it did not ask for lack of time does not count.
    public func exceeds(_ limit: Duration) -> Bool { outage - stall > limit }
}
