import CLinux
import Glibc
public import Platform
import Synchronization

/// Host names to addresses by getaddrinfo(3): /etc/hosts, DNS and whatever else nsswitch.conf(5) names.
///
/// Each look-up has a thread of its own, because getaddrinfo blocks and cannot be interrupted. A caller waits for it no
/// longer than the limit; a thread that hangs longer is left alone, and serves whoever asks for the same name meanwhile,
/// so there is never more than one thread per name.
public final class NameResolver: Sendable {
    /// How long a caller waits for one name.
    public let timeLimit: Duration
    private let query: @Sendable (String) -> Result<[IPAddress], DiscoveryError>
    private let pending = Mutex<Pending>(Pending())

    private struct Waiter {
        var continuation: CheckedContinuation<[IPAddress], any Error>
        var timer: Task<Void, Never>

        func resume(with result: Result<[IPAddress], any Error>) {
            timer.cancel()
            continuation.resume(with: result)
        }
    }

    private struct Pending {
        var nextWaiter: UInt64 = 0
        var waiters: [String: [UInt64: Waiter]] = [:]
    }

    /// - Parameter timeLimit: the default, 5 s, is the time-out of one query to one name server in resolv.conf(5).
    public convenience init(timeLimit: Duration = .seconds(5)) {
        self.init(timeLimit: timeLimit, query: Self.getAddresses)
    }

    /// For tests: with a query of their own, which may block as long as it likes.
    init(timeLimit: Duration, query: @escaping @Sendable (String) -> Result<[IPAddress], DiscoveryError>) {
        self.timeLimit = timeLimit
        self.query = query
    }

    /// The addresses of `host`, distinct, in the resolver's order (RFC 6724). An address is its own answer.
    ///
    /// - Throws: `DiscoveryError` when there is none or the time is over; `CancellationError`.
    public func addresses(of host: String) async throws -> [IPAddress] {
        if let address = IPAddress(host) { return [address] }
        let id = pending.withLock { pending in
            defer { pending.nextWaiter += 1 }
            return pending.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                wait(for: host, id, continuation)
            }
        } onCancel: {
            end(host, id, .failure(CancellationError()))
        }
    }

    /// For tests: how many wait for a name.
    func waiterCount(of host: String) -> Int { pending.withLock { $0.waiters[host]?.count ?? 0 } }

    private func wait(for host: String, _ id: UInt64, _ continuation: CheckedContinuation<[IPAddress], any Error>) {
        let limit = timeLimit
        let timer = Task { [weak self] in
            guard (try? await Task.sleep(for: limit, clock: .continuous)) != nil else { return }
            let error = DiscoveryError(
                .timedOut,
                "cannot resolve \"\(host)\": no answer within \(limit): are the name servers of /etc/resolv.conf reachable?"
            )
            self?.end(host, id, .failure(error))
        }
        let isFirst = pending.withLock { pending in
            let isFirst = pending.waiters[host] == nil
            pending.waiters[host, default: [:]][id] = Waiter(continuation: continuation, timer: timer)
            return isFirst
        }
        // The cancellation handler has run in vain when it ran before the waiter stood in the table.
        if Task.isCancelled { end(host, id, .failure(CancellationError())) }
        guard isFirst else { return }
        do {
            try BlockingThread.start(named: "resolve") { [self] in
                let answer = query(host)
                let waiters = pending.withLock { $0.waiters.removeValue(forKey: host) } ?? [:]
                for waiter in waiters.values { waiter.resume(with: answer.mapError { $0 }) }
            }
        } catch {
            let failure = DiscoveryError(.system, "cannot resolve \"\(host)\": \(error)")
            let waiters = pending.withLock { $0.waiters.removeValue(forKey: host) } ?? [:]
            for waiter in waiters.values { waiter.resume(with: .failure(failure)) }
        }
    }

    /// Ends one wait; the name stays in the table as long as its thread runs, even when nobody waits any more.
    private func end(_ host: String, _ id: UInt64, _ result: Result<[IPAddress], any Error>) {
        let waiter = pending.withLock { $0.waiters[host]?.removeValue(forKey: id) }
        waiter?.resume(with: result)
    }

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
