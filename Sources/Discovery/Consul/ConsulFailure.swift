import Curl
import Glibc
import Platform

/// What went wrong with Consul, for a person: with which address and key, in whose words, and what to do.
enum ConsulFailure {
    /// No answer.
    static func explain(
        _ failure: CurlFailure, _ configuration: ConsulConfiguration, _ purpose: String
    ) -> DiscoveryError {
        let (code, reason) = reason(of: failure, configuration)
        return DiscoveryError(code, "cannot \(purpose) in \(configuration.place): \(reason)")
    }

    private static func reason(
        of failure: CurlFailure, _ configuration: ConsulConfiguration
    ) -> (DiscoveryError.Code, String) {
        switch failure.code {
        case .cannotConnect where failure.errno == ECONNREFUSED:
            var hint = "is an agent of Consul running there? Or correct \"address\" in --disco-config"
            if case .network(_, nil) = configuration.address { hint += ": without a port it is the scheme's, not 8500" }
            return (.unreachable, "connection refused: \(hint)")
        case .cannotConnect:
            let reason = failure.errno == 0 ? failure.text : SystemError.text(of: failure.errno)
            return (.unreachable, "\(reason): is the host up, and does its firewall let the port through?")
        case .unresolvable: return (.unresolvable, "\(failure.text): correct \"address\" in --disco-config")
        case .timedOut:
            return (
                .timedOut,
                "no answer in time (\(failure.text)): is the host up, does its firewall let the port through?"
            )
        case .tls:
            if configuration.scheme != .https { return (.refused, failure.text) }
            return (.refused, "no TLS: \(failure.text): \(remedyForTLS(failure.text, configuration.tls))")
        case .badCertificate:
            return (.system, "\(failure.text): correct tls_config in --disco-config: a file or text in PEM is wanted")
        case .notHTTP:
            let hint = configuration.scheme == .https ? "" : ", and without TLS? Else give \"scheme\": \"https\""
            return (.malformed, "no answer in HTTP (\(failure.text)): is it the HTTP port of Consul\(hint)")
        case .answerTooLong: return (.malformed, "\(failure.text): is it the HTTP port of Consul?")
        case .other: return (.unreachable, failure.text)
        }
    }

    private static func remedyForTLS(_ text: String, _ tls: ConsulConfiguration.TLS) -> String {
        if text.contains("alert") {
            return tls.certificateFile == nil && tls.certificateText == nil
                ? "it wants a certificate of ours: give cert_file and key_file in tls_config"
                : "it does not take our certificate: is it signed by an authority that Consul knows?"
        }
        if text.contains("subject name") {
            return "its certificate is not for that name: correct \"address\" in tls_config, or the certificate"
        }
        if text.contains("certificate") {
            return tls.authorityFile == nil && tls.authorityText == nil && tls.authorityDirectory == nil
                ? "give the authority that signed its certificate as ca_file in tls_config"
                : "is its certificate signed by the authority that tls_config gives?"
        }
        return "is it the HTTPS port of Consul?"
    }

    /// An answer that is none of success.
    static func explain(
        status: Int, _ body: [UInt8], _ configuration: ConsulConfiguration, below prefix: String, _ purpose: String
    ) -> DiscoveryError {
        explain(status: status, ConsulDecoding.text(body), configuration, below: prefix, purpose)
    }

    static func explain(
        status: Int, _ text: String, _ configuration: ConsulConfiguration, below prefix: String, _ purpose: String
    ) -> DiscoveryError {
        let (code, remedy) = verdict(status, text, configuration, prefix)
        let said = text.isEmpty ? "" : ": \(text)"
        return DiscoveryError(
            code, "cannot \(purpose) in \(configuration.place): HTTP status \(status)\(said): \(remedy)")
    }

    private static func verdict(
        _ status: Int, _ text: String, _ configuration: ConsulConfiguration, _ prefix: String
    ) -> (DiscoveryError.Code, String) {
        let source = configuration.tokenFile.map { "the token in \($0)" } ?? "the token"
        if text.contains("ACL not found") || text.contains("token does not exist") {
            return (.refused, "\(source) is not known there: give one that is")
        }
        if text.contains("ermission denied") {
            let policy = "key_prefix \"\(prefix)\" { policy = \"write\" } session_prefix \"\" { policy = \"write\" }"
            let hasToken = configuration.token != nil || configuration.tokenFile != nil
            return (
                .refused,
                hasToken
                    ? "\(source) needs a policy with \(policy)"
                    : "give a token (\"token\" or \"token_file\" in --disco-config) with a policy of \(policy)"
            )
        }
        if text.contains("No cluster leader") {
            return (
                .unreachable, "its servers have no leader: are most of them running, and can they reach each other?"
            )
        }
        if text.contains("No path to datacenter") || text.contains("Missing node registration") {
            return (
                .refused,
                "correct \"datacenter\" in --disco-config, and give the address of an agent in that datacenter: a session is "
                    + "bound to its agent"
            )
        }
        if text.contains("Enterprise") {
            return (.refused, "remove \"namespace\" and \"partition\" from --disco-config: this Consul has none")
        }
        if text.contains("HTTPS server") { return (.refused, "give \"scheme\": \"https\" in --disco-config") }
        switch status {
        case 300..<400: return (.malformed, "redirects are not followed: give the final address")
        case 401: return (.refused, "correct basic_auth in --disco-config")
        case 404: return (.malformed, "is it the HTTP port of Consul?")
        default: return (.refused, "see the log of Consul's agent")
        }
    }
}
