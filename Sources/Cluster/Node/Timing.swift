import Platform

/// The timers of raft and of what is built on it. All members of a cluster must use the same; a difference is refused in
/// each handshake.
public struct Timing: Sendable, Hashable {
    /// What libdqlite calls the network latency, in whole milliseconds. It heartbeats every 1.5 times this, and a follower
    /// that hears nothing for 15 to 30 times this stands for election.
    public let latency: Duration
    /// How long a follower's promise to its leader binds, and so about how long a lease lasts; operators call it the lease.
    public let hold: Duration
    /// How long nothing may come from the leader before the others ask each other whether it is lost.
    public let silence: Duration

    /// A lease of half an election timeout (five heartbeats), and a silence of four heartbeats, unless named.
    ///
    /// What is given is not checked here: see `faults`.
    public init(latency: Duration, hold: Duration? = nil, silence: Duration? = nil) {
        self.latency = latency
        self.hold = hold ?? Self.roundedUp(latency * 15 / 2)
        self.silence = silence ?? latency * 6
    }

    /// For one switch and machines with time to spare: heartbeat 15 ms, election timeout 150 to 300 ms. The lease is longer
    /// than that of the same latency otherwise: five heartbeats were lost now and then on a busy machine.
    public static let fast = Timing(latency: .milliseconds(10), hold: .milliseconds(100), silence: .milliseconds(80))
    /// The default, for machines of one LAN: heartbeat 45 ms, election timeout 450 to 900 ms. What a node costs at rest
    /// follows from the heartbeats, and how soon a lost leader is replaced from the lease: so the heartbeats are few, and the
    /// lease is four of them, where fewer still would end with two in a row that are lost.
    public static let lan = Timing(latency: .milliseconds(30), hold: .milliseconds(180), silence: .milliseconds(150))
    /// For several sites, up to 100 ms apart: heartbeat 150 ms, election timeout 1.5 to 3 s.
    public static let wan = Timing(latency: .milliseconds(100))

    /// The settings that have a name.
    public static let profiles: [(name: String, timing: Timing)] = [("fast", fast), ("lan", lan), ("wan", wan)]

    /// The name of this setting, when it has one.
    public var profile: String? { Self.profiles.first { $0.timing == self }?.name }

    /// libraft's base election timeout; each follower draws from one to two times this.
    public var electionTimeout: Duration { latency * 15 }
    /// Between two heartbeats of the leader.
    public var heartbeat: Duration { latency * 3 / 2 }

    private static func roundedUp(_ duration: Duration) -> Duration {
        .milliseconds((duration + .nanoseconds(999_999)).inMilliseconds)
    }
}

extension Timing {
    /// Within these a network latency makes sense: below, a scheduler's usual delays depose leaders; above, nobody waits for
    /// a virtual address.
    public static let latencies: ClosedRange<Duration> = .milliseconds(5) ... .seconds(1)
    /// A lease lasts this long at least: the address is looked after some 15 ms before its end.
    public static let shortestHold: Duration = .milliseconds(40)

    /// What is wrong with it, each a sentence that names value and rule; empty when nothing is.
    ///
    /// two heartbeats ≤ silence ≤ lease ≤ election timeout, and three heartbeats ≤ lease.
    public var faults: [String] {
        guard Self.latencies.contains(latency) else {
            return [
                "latency \(Self.text(latency)) is not from \(Self.text(Self.latencies.lowerBound)) to "
                    + "\(Self.text(Self.latencies.upperBound))"
            ]
        }
        let given = "latency \(Self.text(latency))"
        var faults: [String] = []
        if hold < Self.shortestHold {
            faults.append("lease \(Self.text(hold)) is shorter than \(Self.text(Self.shortestHold))")
        } else if hold < heartbeat * 3 {
            faults.append(
                "lease \(Self.text(hold)) is shorter than three heartbeats (\(Self.text(heartbeat * 3)) with \(given)): one "
                    + "that is lost would end it")
        } else if hold > electionTimeout {
            faults.append(
                "lease \(Self.text(hold)) is longer than the election timeout (\(Self.text(electionTimeout)) with \(given)): "
                    + "nobody could be elected before it is over")
        }
        if silence < heartbeat * 2 {
            faults.append(
                "silence \(Self.text(silence)) is shorter than two heartbeats (\(Self.text(heartbeat * 2)) with \(given)): one "
                    + "that is late would depose the leader")
        } else if silence > hold {
            faults.append(
                "silence \(Self.text(silence)) is longer than the lease (\(Self.text(hold))): nobody would stand for election "
                    + "when it ends")
        }
        return faults
    }
}

// MARK: - As texts

/// What is wrong with the text of a timing: all of it, each a sentence.
public struct TimingFaults: Error, Sendable, Equatable, CustomStringConvertible {
    public var reasons: [String]
    public var description: String { reasons.joined(separator: "; ") }
}

extension Timing: CustomStringConvertible {
    private static let expected =
        "give \(profiles.map(\.name).joined(separator: ", ")), or times such as latency=30ms,lease=180ms,silence=150ms"

    /// A name, or `latency=TIME[,lease=TIME][,silence=TIME]` in any order; times in whole milliseconds (`20ms`) or seconds.
    ///
    /// - Throws: `TimingFaults`, also when the values do not go together.
    public init(parsing text: String) throws(TimingFaults) {
        if let named = Self.profiles.first(where: { $0.name == text.lowercased() }) {
            self = named.timing
            return
        }
        var times: [String: Duration] = [:]
        var reasons: [String] = []
        guard text.contains("=") else { throw TimingFaults(reasons: [Self.expected]) }
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = pair[0].lowercased()
            guard pair.count == 2, ["latency", "lease", "silence"].contains(name) else {
                reasons.append("\"\(part)\" is not latency=, lease= or silence= with a time: \(Self.expected)")
                continue
            }
            guard let time = Self.time(pair[1]) else {
                reasons.append("\"\(pair[1])\" is not a time for \(name): write whole milliseconds, like 30ms")
                continue
            }
            if times.updateValue(time, forKey: name) != nil { reasons.append("\(name) is given twice") }
        }
        guard reasons.isEmpty else { throw TimingFaults(reasons: reasons) }
        guard let latency = times["latency"] else {
            throw TimingFaults(reasons: ["latency is missing, from which all else follows: \(Self.expected)"])
        }
        self.init(latency: latency, hold: times["lease"], silence: times["silence"])
        if !faults.isEmpty { throw TimingFaults(reasons: faults) }
    }

    /// As it can be given to `init(parsing:)`.
    public var description: String {
        "latency=\(Self.text(latency)),lease=\(Self.text(hold)),silence=\(Self.text(silence))"
    }

    private static func time(_ text: Substring) -> Duration? {
        let isMilliseconds = text.hasSuffix("ms")
        guard isMilliseconds || text.hasSuffix("s"), let number = Int64(text.dropLast(isMilliseconds ? 2 : 1)),
            (0...3_600_000).contains(number), !text.hasPrefix("+"), !text.hasPrefix("-")
        else { return nil }
        return isMilliseconds ? .milliseconds(number) : .seconds(number)
    }

    private static func text(_ duration: Duration) -> String {
        // Heartbeats may have half a millisecond.
        let tenths = duration.inNanoseconds / 100_000
        return tenths.isMultiple(of: 10) ? "\(tenths / 10)ms" : "\(tenths / 10).\(tenths % 10)ms"
    }
}

/// A node's timing as its peers are told it, with the address at which it is told from others in messages.
struct TimingClaim: Codable, Sendable, Equatable {
    var address: HostPort
    /// Milliseconds.
    var latency: Int64
    var lease: Int64
    var silence: Int64

    init(_ timing: Timing, of address: HostPort) {
        self.address = address
        latency = timing.latency.inMilliseconds
        lease = timing.hold.inMilliseconds
        silence = timing.silence.inMilliseconds
    }

    private var text: String {
        let profile = Timing.profiles.first { TimingClaim($0.timing, of: address) == self }?.name
        let values = "latency=\(latency)ms,lease=\(lease)ms,silence=\(silence)ms"
        return profile.map { "\($0) (\(values))" } ?? values
    }

    /// Why two nodes cannot be in one cluster; nil when they can.
    func difference(from other: TimingClaim) -> PortFailure? {
        guard (latency, lease, silence) != (other.latency, other.lease, other.silence) else { return nil }
        let (first, second) = "\(address)" < "\(other.address)" ? (self, other) : (other, self)
        return PortFailure(
            reason: .otherTiming,
            text: "\(first.address) runs with the timing \(first.text) and \(second.address) with \(second.text): "
                + "stop both, and start all members of the cluster with the same --timing")
    }
}
