import Glibc
import Platform

/// What resolv.conf(5) says, as far as it decides what is asked and of whom.
struct DNSSettings: Hashable, Sendable {
    /// At most three addresses.
    var servers: [String]
    /// The search list.
    var domains: [String] = []
    /// A name with fewer dots is tried with the search list first.
    var ndots = 1
    /// Seconds for one try with one server.
    var timeout = 5
    /// How often a silent server is asked.
    var attempts = 2
    /// The options edns0, use-vc, no-tld-query, no-aaaa.
    var usesEDNS = false
    var usesTCP = false
    var spareTopLevel = false
    var skipsAAAA = false

    /// The complete names that a name stands for, in the order in which libc tries them: see resolv.conf(5).
    func candidates(for name: String) -> [String] {
        if name.hasSuffix(".") { return [name] }
        let dots = name.utf8.count { $0 == UInt8(ascii: ".") }
        var names = domains.map { domain in
            let bare = domain.hasPrefix(".") ? domain.dropFirst() : domain[...]
            return bare.isEmpty ? name : "\(name).\(bare)"
        }
        if dots >= ndots {
            names.insert(name, at: 0)
        } else if dots > 0 || names.isEmpty || !spareTopLevel {
            names.append(name)
        }
        var seen: Set<String> = []
        return names.filter { $0.utf8.count <= DNSName.longest - 2 && seen.insert($0).inserted }
    }
}

/// What was found.
struct DNSAnswer: Hashable, Sendable {
    /// Never empty.
    var records: [DNSRecord]
    /// The name that has the records: the end of the aliases.
    var canonicalName: DNSName
    /// Seconds: the smallest of the records, the aliases and what came along.
    var ttl: UInt32
    /// The addresses that came along for the targets of services.
    var additional: [DNSName: [DNSRecord]] = [:]
    /// Which server gave it.
    var server: String
}

/// The course of one question through the search list and the servers, within a limit of time: which server is asked
/// what, and what the replies amount to.
///
/// As libc does it, but each server's reply is told apart; a server that answered for one name is the first to be asked
/// for the next; and one that said something is not asked the same again.
struct DNSQuery: Sendable {
    enum Step: Hashable, Sendable {
        case ask(Ask)
        case end(Result<DNSAnswer, DNSFailure>)
    }

    struct Ask: Hashable, Sendable {
        /// Its index in the settings.
        var server: Int
        /// Complete, but without a last dot of its own.
        var name: String
        var type: DNSRecordType
        var overTCP: Bool
        var withEDNS: Bool
        var seconds: Int
    }

    enum Reply: Hashable, Sendable {
        case message([UInt8])
        /// With an errno.
        case failed(Int32)
    }

    /// What is known of one of the names.
    private enum Verdict: Hashable {
        case noName, noRecord
        case fault(DNSFailure.Kind)
    }

    private let question: DNSQuestion
    private let settings: DNSSettings
    private let deadline: BootInstant
    private var names: ArraySlice<String>
    private var tried: [String] = []
    private var verdicts: [Verdict] = []
    private var earlierReplies: [DNSFailure.ServerReply] = []
    private var canonicalName: DNSName?
    private var outcome: Result<DNSAnswer, DNSFailure>?

    /// The servers in the order in which they are asked.
    private var order: [Int]
    /// For the present name: who is to be asked in this round, how often that was, what each said last.
    private var queue: ArraySlice<Int> = []
    private var round = 0
    private var replies: [Int: DNSFailure.Reply] = [:]
    private var current: Ask?
    private var again: Ask?

    /// `firstServer`: whose turn it is, for the option rotate.
    init(_ question: DNSQuestion, _ settings: DNSSettings, until deadline: BootInstant, firstServer: Int = 0) {
        self.question = question
        self.settings = settings
        self.deadline = deadline
        names = settings.candidates(for: question.name)[...]
        order = settings.servers.indices.map { ($0 + firstServer) % settings.servers.count }
        if settings.servers.isEmpty {
            fail(.system("no name server is configured in /etc/resolv.conf"))
        } else if question.type == .aaaa, settings.skipsAAAA {
            fail(.noRecord)
        } else {
            nextName()
        }
    }

    /// What to do now. After `.ask`, `heard` must come before the next call.
    mutating func next(at now: BootInstant) -> Step {
        while true {
            if let outcome { return .end(outcome) }
            if let ask = again ?? nextAsk() {
                again = nil
                guard let seconds = share(at: now) else {
                    replies[ask.server] = replies[ask.server] ?? .silent(overTCP: ask.overTCP)
                    fail(.timedOut)
                    continue
                }
                var ask = ask
                ask.seconds = seconds
                current = ask
                return .ask(ask)
            }
            closeName()
        }
    }

    private mutating func nextAsk() -> Ask? {
        if queue.isEmpty, round < settings.attempts {
            round += 1
            queue =
                order.filter { server in
                    guard let reply = replies[server] else { return true }
                    if case .silent = reply { return true }
                    return false
                }[...]
        }
        guard let server = queue.popFirst(), let name = tried.last else { return nil }
        return Ask(
            server: server, name: name, type: question.type, overTCP: settings.usesTCP, withEDNS: settings.usesEDNS,
            seconds: 0)
    }

    /// The seconds for one try: what is left, shared among the tries that may follow, but at least one.
    private func share(at now: BootInstant) -> Int? {
        let left = Int((now.duration(to: deadline).inMilliseconds + 500) / 1000)
        guard left >= 1 else { return nil }
        let tries = 1 + queue.count + max(0, settings.attempts - round) * order.count
        return max(1, min(settings.timeout, left / tries))
    }

    /// Takes the reply to what was asked last.
    mutating func heard(_ reply: Reply) {
        guard let ask = current else { return }
        current = nil
        switch reply {
        case .failed(ETIMEDOUT):
            replies[ask.server] = .silent(overTCP: ask.overTCP)
        case .failed(EBADMSG), .failed(ENOBUFS):
            replies[ask.server] = .malformed("one to another question")
        case .failed(ECONNREFUSED), .failed(ENETUNREACH), .failed(EHOSTUNREACH), .failed(ECONNRESET):
            replies[ask.server] = .unreachable(overTCP: ask.overTCP)
        case .failed(let code):
            replies[ask.server] = .failed(SystemError.text(of: code))
        case .message(let bytes):
            do {
                try take(DNSMessage(bytes), ask)
            } catch {
                replies[ask.server] = .malformed(error.description)
            }
        }
    }

    private mutating func take(_ message: DNSMessage, _ ask: Ask) throws(DNSFault) {
        if message.isTruncated, !ask.overTCP {
            again = ask
            again?.overTCP = true
            return
        }
        switch message.code {
        case .noError:
            let found = try message.resolve(DNSName(written: ask.name), ask.type)
            guard found.records.isEmpty else {
                let targets = Set(found.records.compactMap { $0.service?.target })
                let additional = message.additionalAddresses.filter { targets.contains($0.key) }
                let ttl = additional.values.joined().reduce(found.ttl) { min($0, $1.ttl) }
                outcome = .success(
                    DNSAnswer(
                        records: found.records, canonicalName: found.canonicalName, ttl: ttl, additional: additional,
                        server: settings.servers[ask.server]))
                return
            }
            if message.answers.isEmpty, !message.isAuthoritative, !message.offersRecursion {
                replies[ask.server] = .referral
            } else {
                try settle(.noRecord, message, ask)
            }
        case .nameError:
            try settle(.noName, message, ask)
        case .formatError where ask.withEDNS, .notImplemented where ask.withEDNS, .badVersion where ask.withEDNS:
            // RFC 6891 section 7: a server from before EDNS.
            again = ask
            again?.withEDNS = false
        default:
            replies[ask.server] = .code(message.code)
        }
    }

    /// The server knows for certain: no other is asked for this name.
    private mutating func settle(_ verdict: Verdict, _ message: DNSMessage, _ ask: Ask) throws(DNSFault) {
        // RFC 2308 section 2.1: NXDOMAIN is about the end of the aliases.
        let name = DNSName(written: ask.name)
        let end = try message.resolve(name, ask.type).canonicalName
        if end != name, canonicalName == nil { canonicalName = end }
        replies = [ask.server: .code(message.code)]
        order.removeAll { $0 == ask.server }
        order.insert(ask.server, at: 0)
        nextName(verdict)
    }

    /// All servers were asked for the present name, and none knows.
    private mutating func closeName() {
        let someoneSpoke = replies.values.contains {
            switch $0 {
            case .code, .referral, .malformed: true
            case .silent, .unreachable, .failed: false
            }
        }
        if someoneSpoke {
            nextName(.fault(Self.kind(of: replies.values)))
        } else if let reason = replies.values.lazy.compactMap(Self.hostFault).first {
            fail(.system(reason))
        } else {
            fail(replies.values.contains { if case .silent = $0 { true } else { false } } ? .timedOut : .unreachable)
        }
    }

    private static func hostFault(_ reply: DNSFailure.Reply) -> String? {
        if case .failed(let reason) = reply { reason } else { nil }
    }

    private mutating func nextName(_ verdict: Verdict? = nil) {
        if let verdict { verdicts.append(verdict) }
        guard let name = names.popFirst() else { return conclude() }
        earlierReplies += presentReplies
        tried.append(name)
        queue = []
        round = 0
        replies = [:]
    }

    /// No name has an answer. The first that may exist decides: those after it would not have been tried if it had one.
    private mutating func conclude() {
        switch verdicts.first(where: { $0 != .noName }) {
        case .fault(let kind): fail(kind)
        case .noRecord: fail(.noRecord)
        case .noName: fail(.noName)
        case nil: fail(verdicts.isEmpty ? .system("the name is too long") : .noName)
        }
    }

    private static func kind(of replies: some Collection<DNSFailure.Reply>) -> DNSFailure.Kind {
        let codes = replies.compactMap { if case .code(let code) = $0 { code } else { nil } }
        if codes.contains(where: { $0 != .refused }) || replies.contains(.referral) { return .serverFailure }
        return codes.isEmpty ? .malformed : .refused
    }

    private var presentReplies: [DNSFailure.ServerReply] {
        guard let name = tried.last else { return [] }
        return order.compactMap { server in
            replies[server].map { DNSFailure.ServerReply(name: name, server: settings.servers[server], reply: $0) }
        }
    }

    private mutating func fail(_ kind: DNSFailure.Kind) {
        outcome = .failure(
            DNSFailure(
                question: question, kind: kind, replies: earlierReplies + presentReplies, canonicalName: canonicalName))
    }
}
