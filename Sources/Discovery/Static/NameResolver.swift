import CLinux
import Glibc
public import Platform

/// Host names to addresses by getaddrinfo(3): /etc/hosts, DNS and whatever else nsswitch.conf(5) names.
///
/// Each look-up has a thread of its own, because getaddrinfo blocks and cannot be interrupted. A caller waits for it no
/// longer than the limit; a thread that hangs longer is left alone, and serves whoever asks for the same name meanwhile,
/// so there is never more than one thread per name.
public final class NameResolver: Sendable {
    /// How long a caller waits for one name.
    public let timeLimit: Duration
    private let queries: SharedQueries<String, Result<[IPAddress], DiscoveryError>>

    /// - Parameter timeLimit: the default, 5 s, is the time-out of one query to one name server in resolv.conf(5).
    public convenience init(timeLimit: Duration = .seconds(5)) {
        self.init(timeLimit: timeLimit, query: Self.getAddresses)
    }

    /// For tests: with a query of their own, which may block as long as it likes.
    init(timeLimit: Duration, query: @escaping @Sendable (String) -> Result<[IPAddress], DiscoveryError>) {
        self.timeLimit = timeLimit
        queries = SharedQueries(threadName: "resolve", query: query)
    }

    /// The addresses of `host`, distinct, in the resolver's order (RFC 6724). An address is its own answer.
    ///
    /// - Throws: `DiscoveryError` when there is none or the time is over; `CancellationError`.
    public func addresses(of host: String) async throws -> [IPAddress] {
        if let address = IPAddress(host) { return [address] }
        let answer: Result<[IPAddress], DiscoveryError>
        do {
            answer = try await queries.value(for: host, within: timeLimit, orThrow: self.late(host))
        } catch let error as SystemError {
            throw DiscoveryError(.system, "cannot resolve \"\(host)\": \(error)")
        }
        return try answer.get()
    }

    private func late(_ host: String) -> DiscoveryError {
        DiscoveryError(
            .timedOut,
            "cannot resolve \"\(host)\": no answer within \(timeLimit): are the name servers of /etc/resolv.conf reachable?"
        )
    }

    /// For tests: how many wait for a name.
    func waiterCount(of host: String) -> Int { queries.waiterCount(for: host) }

    private static func getAddresses(_ host: String) -> Result<[IPAddress], DiscoveryError> {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else {
            let reason = code == EAI_SYSTEM ? SystemError.text(of: errno) : String(cString: gai_strerror(code))
            return .failure(DiscoveryError(.unresolvable, "cannot resolve \"\(host)\": \(reason)"))
        }
        defer { freeaddrinfo(list) }
        var addresses: [IPAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ai_next
            guard let address = address(in: entry), !addresses.contains(address) else { continue }
            addresses.append(address)
        }
        guard !addresses.isEmpty else {
            return .failure(
                DiscoveryError(.unresolvable, "cannot resolve \"\(host)\": the name has no IPv4 or IPv6 address"))
        }
        return .success(addresses)
    }

    private static func address(in entry: addrinfo) -> IPAddress? {
        guard let raw = UnsafeRawPointer(entry.ai_addr) else { return nil }
        switch entry.ai_family {
        case AF_INET where Int(entry.ai_addrlen) >= MemoryLayout<sockaddr_in>.size:
            return withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in.self).sin_addr) { IPAddress(bytes: Array($0)) }
        case AF_INET6 where Int(entry.ai_addrlen) >= MemoryLayout<sockaddr_in6>.size:
            return withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr) {
                IPAddress(bytes: Array($0))
            }
        default:
            return nil
        }
    }
}
