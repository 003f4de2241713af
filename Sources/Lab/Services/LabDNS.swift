import Platform
import Synchronization

/// The name server of a laboratory's nodes: its records change, and it comes and goes, while they run.
///
/// It answers for names below "lab": NXDOMAIN for those that have no records. Other names it refuses.
public final class LabDNS: Sendable {
    /// A target of an SRV record (RFC 2782).
    public struct Target: Hashable, Sendable {
        public var host: String
        public var port: UInt16
        public var priority: UInt16
        public var weight: UInt16

        public init(host: String, port: UInt16, priority: UInt16 = 0, weight: UInt16 = 0) {
            self.host = host
            self.port = port
            self.priority = priority
            self.weight = weight
        }
    }

    /// Where it listens: port 53 there.
    public let address: IPAddress
    private let namespace: Namespace
    private let running = Mutex<NameServer?>(nil)

    private struct Records {
        var hosts: [String: [IPAddress]] = [:]
        var services: [String: [Target]] = [:]
        var aliases: [String: String] = [:]
    }
    private let records = Mutex(Records())

    /// Makes a server without records; `start` starts it.
    ///
    /// `number`: of `Network.serviceAddress`; each server needs its own.
    public init(_ network: Network, number: Int = 0) throws {
        address = Network.serviceAddress(number)
        namespace = try network.services(with: number)
    }

    // MARK: Records

    /// Gives the name these addresses of either family and no others; none takes the name away.
    public func set(_ name: String, _ addresses: [IPAddress]) async throws {
        records.withLock { $0.hosts[name] = addresses.isEmpty ? nil : addresses }
        try await server?.setHosts(hosts)
    }

    /// Gives the service, a name such as "_cluster._tcp.nodes.lab", these targets and no others. The server is down for
    /// a moment: it reads such records only when it starts.
    public func setService(_ name: String, _ targets: [Target]) async throws {
        records.withLock { $0.services[name] = targets.isEmpty ? nil : targets }
        try await restart()
    }

    /// Makes a name another name for `target`, which must be in the server's own records.
    public func setAlias(_ name: String, of target: String) async throws {
        records.withLock { $0.aliases[name] = target }
        try await restart()
    }

    private var hosts: [String] {
        records.withLock { records in
            records.hosts.sorted { $0.key < $1.key }.flatMap { name, addresses in addresses.map { "\($0) \(name)" } }
        }
    }

    private var options: [String] {
        records.withLock { records in
            records.services.sorted { $0.key < $1.key }.flatMap { name, targets in
                targets.map { "srv-host=\(name),\($0.host),\($0.port),\($0.priority),\($0.weight)" }
            } + records.aliases.sorted { $0.key < $1.key }.map { "cname=\($0.key),\($0.value)" }
        }
    }

    /// How often the running server was asked for these records: "A" or "SRV", say.
    public func questions(_ type: String, _ name: String) -> Int { server?.count("query[\(type)] \(name) ") ?? 0 }

    // MARK: Process

    /// Starts it with the records that it was given so far, and waits until it serves.
    public func start() async throws {
        let server = try await NameServer(hosts: hosts, options, address: "\(address)", port: 53, in: namespace)
        running.withLock { $0 = server }
    }

    /// Ends it: questions are answered by the kernel's "port unreachable".
    public func stop() async throws {
        try await running.withLock { server in
            defer { server = nil }
            return server
        }?.end()
    }

    private var server: NameServer? { running.withLock { $0 } }

    private func restart() async throws {
        guard server != nil else { return }
        try await stop()
        try await start()
    }

    deinit { running.withLock { $0?.stop() } }
}
