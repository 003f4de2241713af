import Platform

/// One host that is to be told where one address is.
public struct NeighbourNotice: Hashable, Sendable {
    public var address: VirtualAddress
    public var neighbour: Neighbour

    public init(_ address: VirtualAddress, to neighbour: Neighbour) {
        self.address = address
        self.neighbour = neighbour
    }
}

/// Which of the known neighbours to tell of a held address by a frame of their own, when, and how many at a time. A value
/// without clock and I/O.
///
/// It comes behind the broadcast and beside it, for hosts that do not hear or do not heed that. In two rounds: one shortly
/// after the first broadcast; and one when a Linux neighbour takes an update again that had locked its entry (`AnnounceSchedule`).
/// Each reads the table of neighbours anew, which may have learnt of clients meanwhile.
public struct NeighbourSchedule: Hashable, Sendable {
    /// What to do now.
    public enum Order: Hashable, Sendable {
        case nothing
        /// Read the neighbours of these families, and tell `learnt`, whatever came of it.
        case read(Set<IPAddress.Family>)
        /// Send these, in one batch.
        case tell([NeighbourNotice])
    }

    /// From the claim to each round.
    public static let rounds: [Duration] = [.milliseconds(20), .milliseconds(1400)]
    /// How many hosts are told of an address in a round, those that are in use first.
    public static let mostHosts = 1024
    /// How many frames go out together, and how long after that the next ones: 3200 a second.
    public static let batch = 32
    public static let interval: Duration = .milliseconds(10)
    /// Rounds that are due so soon after each other share a reading.
    private static let slack: Duration = .milliseconds(20)

    private struct Wait: Hashable {
        var address: VirtualAddress
        var round: Int
        var began: BootInstant
        var at: BootInstant
    }

    private var waits: [Wait] = []
    /// Those for which the neighbours are being read.
    private var asked: [Wait]?
    private var queue: ArraySlice<NeighbourNotice> = []
    private var nextBatch = BootInstant(nanoseconds: 0)

    public init() {}

    /// Something is due, or under way.
    public var isActive: Bool { !waits.isEmpty || asked != nil || !queue.isEmpty }

    /// When `due` has something to do; nil while it waits for an event.
    public var next: BootInstant? {
        if !queue.isEmpty { return nextBatch }
        return asked == nil ? waits.map(\.at).min() : nil
    }

    /// The address was set, or the neighbours may have forgotten it: the rounds begin.
    public mutating func begin(_ address: VirtualAddress, now: BootInstant) {
        end(address)
        waits.append(Wait(address: address, round: 0, began: now, at: now.advanced(by: Self.rounds[0])))
    }

    /// The address is not held any more: nobody is told of it.
    public mutating func end(_ address: VirtualAddress) {
        waits.removeAll { $0.address == address }
        asked?.removeAll { $0.address == address }
        queue.removeAll { $0.address == address }
    }

    public mutating func due(now: BootInstant) -> Order {
        guard let next, next <= now else { return .nothing }
        guard queue.isEmpty else {
            let notices = Array(queue.prefix(Self.batch))
            queue = queue.dropFirst(notices.count)
            nextBatch = now.advanced(by: Self.interval)
            return .tell(notices)
        }
        let limit = now.advanced(by: Self.slack)
        let ready = waits.filter { $0.at <= limit }
        waits.removeAll { $0.at <= limit }
        asked = ready
        return .read(Set(ready.map(\.address.address.family)))
    }

    /// The neighbours were read; none when that failed. `except`: addresses that no other host has.
    public mutating func learnt(_ neighbours: [Neighbour], except own: Set<IPAddress>, now: BootInstant) {
        guard let ready = asked else { return }
        asked = nil
        let hosts = neighbours.filter { $0.isHost && !own.contains($0.address) }
        // Fresh ones first, in the order of the table otherwise.
        let sorted = hosts.filter(\.isFresh) + hosts.filter { !$0.isFresh }
        for var wait in ready {
            let family = wait.address.address.family
            queue += sorted.lazy.filter { $0.address.family == family }.prefix(Self.mostHosts).map {
                NeighbourNotice(wait.address, to: $0)
            }
            wait.round += 1
            guard wait.round < Self.rounds.count else { continue }
            wait.at = wait.began.advanced(by: Self.rounds[wait.round])
            waits.append(wait)
        }
        nextBatch = max(nextBatch, now)
    }
}
