import CResolv
import Glibc
import Platform

/// Asks the name servers of the host by libc's resolver, resolver(3), with /etc/resolv.conf as it is at that moment.
///
/// Truncated answers are asked for again over TCP, on a connection of our own: libc's waits without limit.
struct SystemResolver: Sendable {
    /// How long one question may take, in all.
    var timeLimit: Duration = .seconds(5)
    /// For tests: addresses and ports to ask instead of those of /etc/resolv.conf.
    var servers: [HostPort]?

    /// Blocks for as long as the limit, at most.
    func answer(to question: DNSQuestion) -> Result<DNSAnswer, DNSFailure> {
        guard let resolver = cresolv_open() else {
            let reason = "cannot read /etc/resolv.conf: \(SystemError.text(of: errno))"
            return .failure(DNSFailure(question: question, kind: .system(reason)))
        }
        defer { cresolv_close(resolver) }
        if let servers {
            cresolv_forget_servers(resolver)
            for server in servers where cresolv_add_server(resolver, server.host, server.port) != 0 {
                let reason = "cannot ask \(server): \(SystemError.text(of: errno))"
                return .failure(DNSFailure(question: question, kind: .system(reason)))
            }
        }
        let settings = Self.settings(of: resolver)
        let rotation = cresolv_get(resolver, cresolv_rotate) != 0 ? Int.random(in: 0..<3) : 0
        var query = DNSQuery(
            question, settings, until: BootClock.now.advanced(by: timeLimit), firstServer: rotation)
        var buffer = [UInt8](repeating: 0, count: cresolv_max_answer)
        while true {
            switch query.next(at: BootClock.now) {
            case .ask(let ask): query.heard(Self.ask(ask, resolver, &buffer))
            case .end(let outcome): return outcome
            }
        }
    }

    private static func ask(_ ask: DNSQuery.Ask, _ resolver: OpaquePointer, _ buffer: inout [UInt8]) -> DNSQuery.Reply {
        let (count, code) = ask.name.withCString { name in
            var question = cresolv_question(
                name: name, type: ask.type.rawValue, edns: ask.withEDNS ? 1 : 0, stream: ask.overTCP ? 1 : 0,
                seconds: Int32(ask.seconds))
            let count = cresolv_ask(resolver, Int32(ask.server), &question, &buffer, Int32(buffer.count))
            return (Int(count), errno)
        }
        return count >= 0 ? .message(Array(buffer[..<count])) : .failed(code)
    }

    private static func settings(of resolver: OpaquePointer) -> DNSSettings {
        func value(_ setting: cresolv_setting) -> Int { Int(cresolv_get(resolver, setting)) }
        func isSet(_ setting: cresolv_setting) -> Bool { value(setting) != 0 }
        var domains: [String] = []
        while let domain = cresolv_domain(resolver, Int32(domains.count)) { domains.append(String(cString: domain)) }
        return DNSSettings(
            servers: (0..<cresolv_server_count(resolver)).map { name(ofServer: $0, resolver) }, domains: domains,
            ndots: value(cresolv_ndots), timeout: value(cresolv_timeout), attempts: value(cresolv_attempts),
            usesEDNS: isSet(cresolv_edns), usesTCP: isSet(cresolv_stream), spareTopLevel: isSet(cresolv_no_top_level),
            skipsAAAA: isSet(cresolv_no_aaaa))
    }

    /// The address, with the port unless it is the usual one.
    private static func name(ofServer index: Int32, _ resolver: OpaquePointer) -> String {
        var address = [CChar](repeating: 0, count: 128)
        let port = cresolv_server(resolver, index, &address, Int32(address.count))
        let text = String(decoding: address.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return port == 53 ? text : HostPort(host: text, port: UInt16(clamping: port)).description
    }
}
