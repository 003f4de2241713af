import Curl
import Glibc
import Platform

/// Why one endpoint did not do what it was asked.
struct EtcdFailure: Error, Sendable {
    enum Reason: Sendable {
        case transport(CurlFailure)
        /// HTTP's status, and what etcd says.
        case answer(status: Int, EtcdMessages.Failure?)
        /// An answer of success that cannot be understood.
        case malformed
    }

    var endpoint: EtcdConfiguration.Endpoint
    var reason: Reason

    private var told: (code: Int?, message: String) {
        if case .answer(_, let failure?) = reason { return (failure.code, failure.message) }
        return (nil, "")
    }

    /// Whether another member may do better.
    var isOfOneMember: Bool {
        switch reason {
        case .transport(let failure): return failure.code != .badCertificate
        case .malformed, .answer(_, nil): return true
        case .answer(let status, _): return status == 502 || status == 503 || status == 504 || isWithoutQuorum
        }
    }

    /// DEADLINE_EXCEEDED and UNAVAILABLE; older members give their own codes to the same words.
    private var isWithoutQuorum: Bool {
        let (code, message) = told
        return code == 4 || code == 14
            || ["no leader", "leader changed", "timed out", "too many requests", "server stopped"].contains {
                message.contains($0)
            }
    }

    /// What etcd knows no more, or not yet.
    var isUnknownLease: Bool { told.message.contains("requested lease not found") }

    /// The token has run out, is of an earlier life of the member, or is missing.
    var wantsNewToken: Bool {
        let (code, message) = told
        return code == 16 || message.contains("invalid auth token") || message.contains("user name is empty")
            || message.contains("revision of auth store is old")
    }

    var isWithoutAuthentication: Bool { told.message.contains("authentication is not enabled") }

    var code: DiscoveryError.Code {
        switch reason {
        case .transport(let failure):
            switch failure.code {
            case .unresolvable: .unresolvable
            case .timedOut: .timedOut
            case .notHTTP, .answerTooLong: .malformed
            case .tls: .refused
            case .badCertificate: .system
            case .cannotConnect, .other: .unreachable
            }
        case .malformed, .answer(_, nil): .malformed
        case .answer: isWithoutQuorum ? .timedOut : .refused
        }
    }

    /// What happened, without the endpoint's name.
    func text(_ configuration: EtcdConfiguration) -> String {
        switch reason {
        case .transport(let failure):
            switch failure.code {
            case .cannotConnect where failure.errno != 0:
                return SystemError.text(of: failure.errno).lowercased()
            case .unresolvable: return "the name \"\(endpoint.address.host)\" cannot be resolved"
            case .timedOut: return "no answer within \(configuration.timeLimit.inMilliseconds) ms"
            case .tls: return "no TLS: \(EtcdMessages.plain(failure.text))"
            case .notHTTP: return "what listens there does not answer HTTP (\(EtcdMessages.plain(failure.text)))"
            case .answerTooLong: return "the answer is too long"
            default: return EtcdMessages.plain(failure.text)
            }
        case .malformed: return "the answer is not one of etcd's"
        case .answer(let status, nil): return "HTTP status \(status)"
        case .answer(_, let failure?): return failure.message
        }
    }

    /// What the operator can do about it.
    func remedy(_ configuration: EtcdConfiguration, prefix: String) -> String {
        switch reason {
        case .transport(let failure):
            switch failure.code {
            case .cannotConnect where failure.errno == ECONNREFUSED:
                return "is etcd running there, with that client port?"
            case .cannotConnect: return "is the host up, and does its firewall let the port through?"
            case .unresolvable: return "correct \"endpoints\" in --disco-config"
            case .timedOut: return "is the host up, and are most members of etcd running?"
            case .tls:
                let trust =
                    configuration.caFile.map { "by \($0) (ca_file)" }
                    ?? "by an authority of this host (or give ca_file)"
                let name = configuration.serverName.map { "\"\($0)\" (server_name)" } ?? "\"\(endpoint.address.host)\""
                let own = configuration.certificateFile == nil ? "want one of ours (cert_file)" : "take our cert_file"
                return "does it speak TLS, is its certificate signed \(trust) and made for \(name), does it \(own)?"
            case .badCertificate: return "correct ca_file, cert_file and key_file in --disco-config"
            case .notHTTP, .answerTooLong:
                return "is it the client port of etcd, and without TLS? Write https:// where it has TLS"
            case .other: return "see \"endpoints\" in --disco-config"
            }
        case .malformed, .answer(_, nil): return "is it the client port of etcd 3.4 or later?"
        case .answer(_, let failure?):
            let message = failure.message
            if isWithoutQuorum {
                return "it has no quorum: are most of its members running, and can they reach each other?"
            }
            if message.contains("authentication failed") { return "correct username and password in --disco-config" }
            if message.hasPrefix("CommonName") {
                return "etcd's gateway takes no client certificate with a common name (CVE-2018-16886): make one "
                    + "without for cert_file"
            }
            if wantsNewToken { return "it wants a user: give username and password in --disco-config" }
            if message.contains("permission denied") {
                let user = configuration.username.map { "the user \"\($0)\"" } ?? "the user"
                return
                    "give a role of \(user) `etcdctl role grant-permission ROLE readwrite --prefix \(shellQuoted(prefix))`"
            }
            if message.contains("space exceeded") {
                return "etcd is full: compact and defragment it, then `etcdctl alarm disarm`"
            }
            return "see etcd's log"
        }
    }
}
