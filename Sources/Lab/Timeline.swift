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
