/// Counts the requests to stop, which reach the daemon on two ways.
///
/// A terminal sends SIGINT and systemd SIGTERM to guard and daemon alike, `kill` to one of them only; and the guard passes
/// what it gets on. One request of the operator therefore comes once or twice, never more than once on each way: the way
/// that counted most tells how often the operator asked.
public struct ShutdownRequests: Sendable, Equatable {
    public enum Source: Sendable, Hashable {
        /// A stop record of the guard.
        case guardProcess
        /// A signal to this very process.
        case signal
    }

    public enum Urgency: Sendable, Hashable, Comparable {
        case none
        /// Hand over, drop the addresses, stop in order.
        case graceful
        /// Drop the addresses and end at once.
        case immediate
    }

    public private(set) var byGuard = 0
    public private(set) var bySignal = 0

    public init() {}

    /// Counts one request; returns how urgent the stop is now.
    public mutating func record(_ source: Source) -> Urgency {
        switch source {
        case .guardProcess: byGuard += 1
        case .signal: bySignal += 1
        }
        return urgency
    }

    public var urgency: Urgency {
        switch max(byGuard, bySignal) {
        case 0: .none
        case 1: .graceful
        default: .immediate
        }
    }
}
