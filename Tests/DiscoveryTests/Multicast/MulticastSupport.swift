import Logging
import Platform
import Synchronization
import Testing

@testable import Discovery

/// Bytes written as hexadecimal digits.
func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

extension MulticastSeal {
    init(_ key: String = "blue", secret: String?) {
        var fields = ConfigurationFields(secret.map { ["secret": .string($0)] } ?? [:])
        self.init(key: key, secret: MulticastConfiguration(from: &fields).secret)
    }
}

extension IPAddress {
    /// 10.0.0.`host`, for tests without sockets.
    static func test(_ host: Int) -> IPAddress {
        IPAddress(bytes: [10, 0, UInt8(truncatingIfNeeded: host >> 8), UInt8(truncatingIfNeeded: host)])
            ?? .init(0, 0, 0, 0)
    }

    private init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        guard let address = IPAddress(bytes: [a, b, c, d]) else { preconditionFailure("four bytes are an address") }
        self = address
    }
}

extension MulticastRecord {
    /// Node n at 10.0.0.n:8800.
    static func test(_ number: Int, cluster: String? = nil) -> MulticastRecord {
        MulticastRecord(
            nodeID: "id-\(number)", address: HostPort(host: IPAddress.test(number).description, port: 8800),
            name: "node\(number)", clusterID: cluster)
    }
}

extension BootInstant {
    /// Milliseconds after some moment.
    static func at(_ milliseconds: Int) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000_000 + Int64(milliseconds) * 1_000_000)
    }
}

/// A core with what it needs around it, told what happens and when.
struct CoreUnderTest {
    var core: MulticastCore
    var dice: Dice
    let seal: MulticastSeal
    var now = 0

    init(secret: String? = nil, key: String = "blue", limits: MulticastLimits = MulticastLimits(), seed: UInt64 = 1) {
        seal = MulticastSeal(key, secret: secret)
        core = MulticastCore(seal: seal, limits: limits)
        dice = Dice(seed: seed)
    }

    mutating func handle(_ event: MulticastEvent) -> [MulticastDirective] {
        core.handle(event, at: .at(now), using: &dice)
    }

    mutating func hear(_ bytes: [UInt8], from host: Int) -> [MulticastDirective] {
        handle(.datagram(bytes, from: .test(host)))
    }

    /// Hears a message that is sealed as this core's own are.
    mutating func hear(_ message: MulticastMessage, from host: Int) -> [MulticastDirective] {
        hear(seal.close(message) ?? [], from: host)
    }

    /// Lets time pass, with ticks where they are due, and gives what came of it.
    mutating func pass(to time: Int) -> [MulticastDirective] {
        var out: [MulticastDirective] = []
        while let deadline = core.nextDeadline, deadline <= .at(time) {
            now = max(now, Int(BootInstant.at(0).duration(to: deadline).inMilliseconds))
            // Deadlines are told to the nanosecond.
            if BootInstant.at(now) < deadline { now += 1 }
            out += handle(.tick)
        }
        now = max(now, time)
        return out
    }

    /// Begins a look-up and gives its question.
    mutating func question() throws -> [UInt8] {
        let sent = handle(.lookUp).sent
        return try #require(sent.first)
    }

    /// Begins a look-up and gives the nonce of its question.
    mutating func ask() throws -> MulticastNonce {
        guard case .message(.question(let nonce, _)) = seal.open(try question()) else { throw NothingAsked() }
        return nonce
    }

    struct NothingAsked: Error {}

    /// What is sent first because of a datagram.
    mutating func reply(to bytes: [UInt8], from host: Int) throws -> [UInt8] {
        let sent = hear(bytes, from: host).sent
        return try #require(sent.first)
    }

    /// The messages among directives, opened.
    func messages(_ directives: [MulticastDirective]) -> [MulticastMessage] {
        directives.compactMap {
            guard case .send(let bytes) = $0, case .message(let message) = seal.open(bytes) else { return nil }
            return message
        }
    }
}

extension [MulticastDirective] {
    /// The answer to a look-up among them.
    var found: [HostPort]? { compactMap { if case .found(let addresses, _) = $0 { addresses } else { nil } }.last }
    var trouble: MulticastNote? { compactMap { if case .found(_, let note) = $0 { note } else { nil } }.last }
    var notes: [MulticastNote] { compactMap { if case .note(let note) = $0 { note } else { nil } } }
    var sent: [[UInt8]] { compactMap { if case .send(let bytes) = $0 { bytes } else { nil } } }
}

extension MulticastMessage {
    var isQuestion: Bool { if case .question = self { true } else { false } }
    var isAnswer: Bool { if case .answer = self { true } else { false } }
}

/// Keeps what is logged.
final class MulticastLog: Sendable {
    struct Line: Hashable, Sendable {
        var level: Logger.Level
        var text: String
    }

    private let kept = Mutex<[Line]>([])

    var lines: [Line] { kept.withLock { $0 } }
    var warnings: [String] { lines.filter { $0.level >= .warning }.map(\.text) }

    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: MulticastLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.kept.withLock { $0.append(Line(level: event.level, text: "\(event.message)")) }
        }
    }
}
