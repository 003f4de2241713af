/// What is asked: a name as somebody wrote it, complete when it ends with a dot, and a type.
struct DNSQuestion: Hashable, Sendable {
    var name: String
    var type: DNSRecordType
}

/// Why a question has no answer.
struct DNSFailure: Error, Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// NXDOMAIN for every name that was tried.
        case noName
        /// The name, or the one that it is an alias of, has records, but none of this type.
        case noRecord
        /// The server has a fault, or one that it asked: SERVFAIL and others.
        case serverFailure
        /// The server does not want to answer this host, or not for this name.
        case refused
        /// The server answered what is no answer.
        case malformed
        case timedOut
        /// Nothing listens at the servers' addresses, or there is no way to them.
        case unreachable
        /// This host could not ask.
        case system(String)
    }

    /// What one server did.
    enum Reply: Hashable, Sendable, CustomStringConvertible {
        case code(DNSCode)
        /// Neither an answer nor a hint who has one, or a hint only.
        case referral
        case malformed(String)
        case silent(overTCP: Bool)
        case unreachable(overTCP: Bool)
        case failed(String)

        var description: String {
            switch self {
            case .code(let code): "answers \(code)"
            case .referral: "does not know and does not ask others"
            case .malformed(let reason): "gives an answer that cannot be understood, \(reason)"
            case .silent(overTCP: false): "does not answer"
            case .silent(overTCP: true): "does not answer over TCP, which this long an answer needs"
            case .unreachable(overTCP: false): "cannot be reached"
            case .unreachable(overTCP: true): "cannot be reached over TCP, which this long an answer needs"
            case .failed(let reason): "could not be asked, \(reason)"
            }
        }
    }

    struct ServerReply: Hashable, Sendable {
        /// The name that was asked for: with a search domain, perhaps.
        var name: String
        var server: String
        /// The last, if it was asked for this name more than once.
        var reply: Reply
    }

    var question: DNSQuestion
    var kind: Kind
    /// In the order of the questions.
    var replies: [ServerReply] = []
    /// What the name is an alias of, when it is that which does not exist or has no record.
    var canonicalName: DNSName?

    /// Whether the name server said that there is no such record, so that asking others or again tells nothing new.
    var isDefinite: Bool { kind == .noName || kind == .noRecord }

    /// The host is told not to ask: no-aaaa in resolv.conf(5).
    var wasNotAsked: Bool { kind == .noRecord && replies.isEmpty }
}

extension DiscoveryError {
    /// One error of failures for the same name, such as those for A and AAAA.
    ///
    /// `role` says what the name is, when it is not the one that was configured.
    init(_ failures: [DNSFailure], role: String = "") {
        var merged: [(failure: DNSFailure, types: [DNSRecordType])] = []
        for failure in failures where failures.count == 1 || !failure.wasNotAsked {
            let same = merged.firstIndex {
                $0.failure.kind == failure.kind && $0.failure.replies == failure.replies
                    && $0.failure.question.name == failure.question.name
                    && $0.failure.canonicalName == failure.canonicalName
            }
            if let same {
                merged[same].types.append(failure.question.type)
            } else {
                merged.append((failure, [failure.question.type]))
            }
        }
        let message = merged.map { Self.message($0.failure, $0.types, role) }.joined(separator: "; ")
        self.init(merged.first.map { Self.code(of: $0.failure.kind) } ?? .unresolvable, message)
    }

    private static func code(of kind: DNSFailure.Kind) -> Code {
        switch kind {
        case .noName, .noRecord, .serverFailure: .unresolvable
        case .refused: .refused
        case .malformed: .malformed
        case .timedOut: .timedOut
        case .unreachable: .unreachable
        case .system: .system
        }
    }

    private static func message(_ failure: DNSFailure, _ types: [DNSRecordType], _ role: String) -> String {
        let name = "\(role)\"\(failure.question.name)\""
        let kinds = types.map(\.description).joined(separator: " and ")
        let asked = distinct(failure.replies.map(\.server)).joined(separator: ", ")
        let names = distinct(failure.replies.map { "\"\($0.name)\"" })
        let tried = names.count > 1 ? ", tried as " + names.joined(separator: ", ") : ""
        let replies = failure.replies.map { reply in
            (names.count > 1 ? "as \"\(reply.name)\" " : "") + "\(reply.server) \(reply.reply)"
        }.joined(separator: ", ")
        let subject = failure.canonicalName.map { "\(name) is an alias of \"\($0)\", which" } ?? name
        switch failure.kind {
        case .noName:
            return "\(subject) does not exist (NXDOMAIN for \(kinds) from \(asked)\(tried)): \(absent)"
        case .noRecord:
            let source =
                failure.wasNotAsked ? "not asked for: no-aaaa stands in /etc/resolv.conf" : "asked \(asked)\(tried)"
            let records = types.map(\.description).joined(separator: " or ")
            return "\(subject) has no \(records) record (\(source)): \(absent)"
        case .serverFailure:
            return "cannot resolve \(name) (\(kinds)): \(replies): "
                + "the fault lies with that name server or one that it asks, its log knows more"
        case .refused:
            return "cannot resolve \(name) (\(kinds)): \(replies): "
                + "correct the name servers in /etc/resolv.conf, or what that server permits this host"
        case .malformed:
            return "cannot resolve \(name) (\(kinds)): \(replies): is that a name server?"
        case .timedOut:
            return "cannot resolve \(name) (\(kinds)): \(replies.isEmpty ? "no answer in time" : replies): "
                + "are the name servers of /etc/resolv.conf up, and may UDP and TCP pass to them?"
        case .unreachable:
            return "cannot resolve \(name) (\(kinds)): \(replies): "
                + "correct the name servers in /etc/resolv.conf, or the route to them"
        case .system(let reason):
            return "cannot resolve \(name) (\(kinds)): \(reason)"
        }
    }

    private static func distinct(_ texts: [String]) -> [String] {
        texts.reduce(into: []) { result, text in
            if !result.contains(text) { result.append(text) }
        }
    }

    private static let absent =
        "create the record or correct the name; that of a Kubernetes headless service has addresses before the pods are "
        + "ready only with publishNotReadyAddresses"
}
