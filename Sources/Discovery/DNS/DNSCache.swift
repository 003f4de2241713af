import Platform

/// Answers that are still good.
///
/// A good answer is kept for its TTL, but at least half a second, because several parts of the daemon may ask at once,
/// and at most five: a node that looks for its cluster sees a new record after that at the latest. (A server between may
/// keep answers longer; that is what TTLs are for.) Whatever is no answer is kept for half a second.
struct DNSCache: Sendable {
    static let shortest = Duration.milliseconds(500)
    static let longest = Duration.seconds(5)

    private var entries: [DNSQuestion: (outcome: Result<DNSAnswer, DNSFailure>, end: BootInstant)] = [:]

    func outcome(of question: DNSQuestion, at now: BootInstant) -> Result<DNSAnswer, DNSFailure>? {
        guard let entry = entries[question], now < entry.end else { return nil }
        return entry.outcome
    }

    mutating func store(_ outcome: Result<DNSAnswer, DNSFailure>, of question: DNSQuestion, at now: BootInstant) {
        entries = entries.filter { now < $0.value.end }
        var life = Self.shortest
        if case .success(let answer) = outcome {
            life = min(max(.seconds(Int64(answer.ttl)), Self.shortest), Self.longest)
        }
        entries[question] = (outcome, now.advanced(by: life))
    }

    var count: Int { entries.count }
}
