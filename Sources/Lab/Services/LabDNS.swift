import Glibc
import Platform
import Synchronization

/// A name server (dnsmasq) whose records change while it runs.
///
/// It answers for names below "lab": NXDOMAIN for those that have no records. Other names it refuses, and for those
/// below "silent.lab" it never answers at all.
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
    private let server: ServiceProcess

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
        server = try ServiceProcess("dns-\(number)", in: network.services(with: number), of: network)
    }

    // MARK: Records

    /// Gives the name these addresses of either family and no others; none takes the name away.
    public func set(_ name: String, _ addresses: [IPAddress]) async throws {
        records.withLock { $0.hosts[name] = addresses.isEmpty ? nil : addresses }
        guard server.isRunning else { return }
        let mark = "read \(hostsFile) "
        let seen = count(of: mark)
        try writeHosts()
        server.signal(SIGHUP)
        // Its log is the only sign of the new records being in force.
        try await server.answering { count(of: mark) > seen }
    }

    /// Gives the service, a name such as "_cluster._tcp.nodes.lab", these targets and no others. The server is down for
    /// a moment: it reads such records only when it starts.
    public func setService(_ name: String, _ targets: [Target]) async throws {
        records.withLock { $0.services[name] = targets.isEmpty ? nil : targets }
        try await restartIfRunning()
    }

    /// Makes a name another name for `target`, which must be in the server's own records.
    public func setAlias(_ name: String, of target: String) async throws {
        records.withLock { $0.aliases[name] = target }
        try await restartIfRunning()
    }

    // MARK: Process

    public func start() async throws {
        try writeHosts()
        var arguments = [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-",
            "--user=root", "--group=root", "--no-resolv", "--no-hosts", "--addn-hosts=\(hostsFile)",
            "--listen-address=\(address)", "--bind-interfaces", "--local=/lab/",
            // RFC 863: nobody listens there, and dnsmasq keeps waiting.
            "--server=/silent.lab/127.0.0.1#9",
        ]
        records.withLock { records in
            for (name, targets) in records.services.sorted(by: { $0.key < $1.key }) {
                arguments += targets.map {
                    "--srv-host=\(name),\($0.host),\($0.port),\($0.priority),\($0.weight)"
                }
            }
            arguments += records.aliases.map { "--cname=\($0.key),\($0.value)" }
        }
        let mark = "read \(hostsFile) "
        let seen = count(of: mark)
        try server.start(arguments)
        // The sockets are bound before the records are read.
        try await server.answering { count(of: mark) > seen }
    }

    /// Ends it: questions are answered by the kernel's "port unreachable".
    public func stop() async throws {
        try await server.end(SIGKILL)
    }

    private func restartIfRunning() async throws {
        guard server.isRunning else { return }
        try await stop()
        try await start()
    }

    private var hostsFile: String { "\(server.directory)/hosts" }

    private func writeHosts() throws {
        let lines = records.withLock { records in
            records.hosts.sorted { $0.key < $1.key }.flatMap { name, addresses in addresses.map { "\($0) \(name)\n" } }
        }
        try writeFile(lines.joined(), to: hostsFile)
    }

    private func count(of mark: String) -> Int {
        server.logText.split(separator: "\n").count { $0.contains(mark) }
    }
}
