import Platform

/// Who had an address when, rebuilt from the witness's events.
public struct Timeline: Sendable {
    public struct Event: Equatable, Sendable {
        public var time: BootInstant
        /// 1...n.
        public var node: Int
        public var change: AddressChange
    }

    public struct Interval: Equatable, Sendable {
        public var node: Int
        public var start: BootInstant
        /// nil while it lasts.
        public var end: BootInstant?
    }

    public private(set) var events: [Event] = []

    public init(events: [Event] = []) {
        self.events = events
    }

    /// Events must come in the order of time.
    mutating func append(_ event: Event) {
        events.append(event)
    }

    /// Which nodes have the address after the last event, smallest first.
    public func holders(of address: IPAddress) -> [Int] {
        intervals(of: address).filter { $0.end == nil }.map(\.node).sorted()
    }

    /// Which nodes have any of the addresses after the last event, smallest first; `own` are left out.
    public func holders(ofAnyBut own: Set<IPAddress>) -> [Int] {
        var present: [Int: Set<IPAddress>] = [:]
        for event in events where !own.contains(event.change.address) {
            if event.change.isPresent {
                present[event.node, default: []].insert(event.change.address)
            } else {
                present[event.node]?.remove(event.change.address)
            }
        }
        return present.filter { !$0.value.isEmpty }.keys.sorted()
    }

    /// When each node had the address, in the order of beginnings.
    public func intervals(of address: IPAddress) -> [Interval] {
        var intervals: [Interval] = []
        for event in events where event.change.address == address {
            let open = intervals.lastIndex { $0.node == event.node && $0.end == nil }
            switch (event.change.isPresent, open) {
            case (true, nil): intervals.append(Interval(node: event.node, start: event.time, end: nil))
            case (false, .some(let index)): intervals[index].end = event.time
            // A renewed lifetime repeats "present"; "gone" of what was not seen to come says nothing new.
            case (true, .some), (false, nil): break
            }
        }
        return intervals
    }

    /// For how long two nodes or more had the address between `start` and `end`, summed; one may be left out.
    public func overlap(
        of address: IPAddress, from start: BootInstant, to end: BootInstant, leavingOut node: Int? = nil
    ) -> Duration {
        var edges: [(time: BootInstant, step: Int)] = []
        for interval in intervals(of: address) where interval.node != node {
            let from = max(interval.start, start)
            let to = min(interval.end ?? end, end)
            if from < to { edges += [(from, 1), (to, -1)] }
        }
        // At the same instant one that ends comes before one that begins: touching is not overlapping.
        edges.sort { ($0.time, $0.step) < ($1.time, $1.step) }
        var total = Duration.zero
        var count = 0
        var since = start
        for edge in edges {
            if count > 1 { total += since.duration(to: edge.time) }
            count += edge.step
            since = edge.time
        }
        return total
    }

    /// A time in which the same two or more nodes had an address.
    public struct Overlap: Equatable, Sendable {
        public var address: IPAddress
        public var nodes: Set<Int>
        public var start: BootInstant
        public var length: Duration
    }

    /// Every overlap between `start` and `end`, in the order of time.
    ///
    /// `absent`: times in which what a node's kernel has is on no wire.
    public func overlaps(
        of address: IPAddress, from start: BootInstant, to end: BootInstant, absent: [Interval] = []
    ) -> [Overlap] {
        var edges: [(time: BootInstant, isBegin: Bool, node: Int)] = []
        for interval in intervals(of: address).flatMap({ Self.cut($0, by: absent) }) {
            let (from, to) = (max(interval.start, start), min(interval.end ?? end, end))
            if from < to { edges += [(from, true, interval.node), (to, false, interval.node)] }
        }
        edges.sort { ($0.time, $0.isBegin ? 1 : 0) < ($1.time, $1.isBegin ? 1 : 0) }
        var overlaps: [Overlap] = []
        var nodes: Set<Int> = []
        var since = start
        for edge in edges {
            if nodes.count > 1 && since < edge.time {
                let length = since.duration(to: edge.time)
                overlaps.append(Overlap(address: address, nodes: nodes, start: since, length: length))
            }
            if edge.isBegin { nodes.insert(edge.node) } else { nodes.remove(edge.node) }
            since = edge.time
        }
        return overlaps
    }

    private static func cut(_ interval: Interval, by absent: [Interval]) -> [Interval] {
        absent.filter { $0.node == interval.node }.reduce([interval]) { pieces, hole in
            pieces.flatMap { piece -> [Interval] in
                let end = min(hole.start, piece.end ?? hole.start)
                let before = Interval(node: piece.node, start: piece.start, end: end)
                var rest = before.start < hole.start ? [before] : []
                if let back = hole.end, piece.end.map({ back < $0 }) ?? true {
                    rest.append(Interval(node: piece.node, start: max(back, piece.start), end: piece.end))
                }
                return rest
            }
        }
    }

    /// The longest time between `start` and `end` in which no node had the address; `absent` as for `overlaps`.
    public func vacancy(
        of address: IPAddress, from start: BootInstant, to end: BootInstant, absent: [Interval] = []
    ) -> Duration {
        var longest = Duration.zero
        var covered = start
        let intervals = intervals(of: address).flatMap { Self.cut($0, by: absent) }
        for interval in intervals.sorted(by: { $0.start < $1.start }) where interval.start < end {
            if interval.start > covered { longest = max(longest, covered.duration(to: interval.start)) }
            covered = max(covered, interval.end ?? end)
        }
        return max(longest, covered < end ? covered.duration(to: end) : .zero)
    }

    /// All addresses that came or went.
    public var addresses: Set<IPAddress> { Set(events.map(\.change.address)) }

    /// When the node lost the address for the first time after `time`; nil when it still has it.
    public func loss(of address: IPAddress, by node: Int, after time: BootInstant) -> BootInstant? {
        intervals(of: address).compactMap { interval in
            interval.node == node && (interval.end ?? time) > time ? interval.end : nil
        }.first
    }

    /// When the node got the address for the first time at or after `time`; nil when it did not. What the witness read in
    /// one go has one time: a return can bear the time of the loss before it.
    public func gain(of address: IPAddress, by node: Int, after time: BootInstant) -> BootInstant? {
        intervals(of: address).first { $0.node == node && $0.start >= time }?.start
    }
}
