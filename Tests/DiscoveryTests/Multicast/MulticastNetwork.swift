import CLinux
import Glibc
import Lab
import Logging
import Platform
import Testing

@testable import Discovery

/// Nodes with real sockets, each in a network namespace of its own on one switch.
struct MulticastNetwork {
    let network: Network

    init(nodes: Int) throws {
        network = try Network(servers: nodes)
        // The kernel's worker that tells of a carrier may come late.
        let deadline = BootClock.now.advanced(by: .seconds(20))
        for server in network.servers {
            while try !ToolCommand.check(["ip", "-n", server.name, "-o", "link", "show", Network.interface])
                .contains("state UP"), BootClock.now < deadline
            {}
        }
    }

    func close() { network.close() }

    /// The backend as it would be on a node; its thread and sockets are in the node's namespace. Not announced yet.
    ///
    /// `asRoot: false` takes all capabilities from the thread.
    func discovery(
        on node: Int, _ configuration: [String: JSONValue] = [:], family: IPAddress.Family = .v4, key: String = "blue",
        log: MulticastLog = MulticastLog(), limits: MulticastLimits = MulticastLimits(), asRoot: Bool = true
    ) throws -> MulticastDiscovery {
        try discovery(
            in: network.servers[node - 1], configuration, family: family, key: key, log: log, limits: limits,
            asRoot: asRoot)
    }

    func discovery(
        in namespace: Namespace, _ configuration: [String: JSONValue] = [:], family: IPAddress.Family = .v4,
        key: String = "blue", log: MulticastLog = MulticastLog(), limits: MulticastLimits = MulticastLimits(),
        asRoot: Bool = true
    ) throws -> MulticastDiscovery {
        var fields = ConfigurationFields(configuration)
        let read = MulticastConfiguration(from: &fields)
        #expect(fields.faults.isEmpty)
        let context = DiscoveryContext(
            key: key, clusterPort: 8800, family: family, interface: Network.interface, logger: log.logger)
        return try MulticastDiscovery(read, context, limits: limits) { body in
            try namespace.perform {
                if !asRoot {
                    try retryingOnInterrupt("drop capabilities") { clinux_drop_thread_capabilities() }
                }
                try BlockingThread.start(named: "disco-mcast", body)
            }
        }
    }

    /// Runs ip(8) in a node's namespace.
    func ip(_ node: Int, _ arguments: String) throws {
        let words = arguments.split(separator: " ").map(String.init)
        try ToolCommand.check(["ip", "-n", network.servers[node - 1].name] + words)
    }

    /// Gives each node IPv6 on eth0, usable at once.
    func enableIPv6() throws {
        let script = """
            echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
            for scope in all default eth0; do echo 0 > /proc/sys/net/ipv6/conf/$scope/disable_ipv6; done
            """
        for server in network.servers { try ToolCommand.check(["sh", "-ec", script], in: server) }
        for node in 1...network.servers.count { try ip(node, "-6 address add fd00:42::\(node)/64 dev eth0 nodad") }
    }

    static func address(_ node: Int, _ family: IPAddress.Family = .v4) -> HostPort {
        HostPort(host: family == .v4 ? Network.address(ofNode: node).description : "fd00:42::\(node)", port: 8800)
    }

    static func announcement(_ node: Int, _ family: IPAddress.Family = .v4) -> DiscoveryAnnouncement {
        DiscoveryAnnouncement(
            node: .init(
                nodeID: "5f0e0000-0000-4000-8000-00000000000\(node)", apiAddress: nil, address: address(node, family),
                name: "node\(node)", clusterID: nil, clusterName: "c"))
    }

    /// An announced node that needs no look-up of its own to be found: `run` is what starts its thread.
    func withRunning<Result>(
        _ discoveries: [MulticastDiscovery], _ body: () async throws -> Result
    ) async throws -> Result {
        let tasks = discoveries.map { discovery in Task { await discovery.run() } }
        let result: Swift.Result<Result, any Error>
        do {
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        // Each holds its node until it has ended: a node of before must not answer what comes after.
        for task in tasks {
            task.cancel()
            await task.value
        }
        return try result.get()
    }
}

extension MulticastDiscovery {
    /// Looks up, as the bootstrap does, until it finds these.
    func find(_ addresses: [HostPort], within limit: Duration = .seconds(30)) async throws {
        let log = LookUps()
        try await eventually(
            "look-up with \(addresses)", within: limit, every: .milliseconds(100), state: { await log.last }
        ) {
            let found = try await lookUp()
            await log.note("found \(found), \(statistics)")
            return found == addresses
        }
    }

    private actor LookUps {
        private(set) var last = "no look-up ended"
        func note(_ text: String) { last = text }
    }
}

/// Sees the UDP datagrams that reach an interface, with their IP headers.
final class DatagramCapture: Sendable {
    struct Datagram: Sendable {
        var source: IPAddress
        var destination: IPAddress
        /// The hop limit for IPv6.
        var timeToLive: UInt8
        var ports: [UInt16]
        var payload: [UInt8]
    }

    private let descriptor: Int32

    init(_ namespace: Namespace) throws {
        descriptor = try namespace.perform {
            // packet(7): SOCK_DGRAM is without the Ethernet header.
            let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            let all = UInt16(ETH_P_ALL).bigEndian
            let descriptor = try retryingOnInterrupt("open a packet socket") { socket(AF_PACKET, kind, Int32(all)) }
            var address = sockaddr_ll()
            address.sll_family = UInt16(AF_PACKET)
            address.sll_protocol = all
            address.sll_ifindex = Int32(bitPattern: if_nametoindex(Network.interface))
            try retryingOnInterrupt("bind a packet socket") {
                withUnsafePointer(to: address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
                    }
                }
            }
            return descriptor
        }
    }

    deinit { close(descriptor) }

    /// What came to a port since the last call.
    func take(port: UInt16 = 8801) -> [Datagram] {
        var datagrams: [Datagram] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 { return datagrams }
            if let datagram = Self.parse(Array(buffer[..<count])), datagram.ports[1] == port {
                datagrams.append(datagram)
            }
        }
    }

    /// RFC 791 section 3.1, RFC 8200 section 3, RFC 768.
    private static func parse(_ packet: [UInt8]) -> Datagram? {
        guard let first = packet.first else { return nil }
        let isV4 = first >> 4 == 4
        let header = isV4 ? Int(first & 0x0F) * 4 : 40
        guard packet.count >= header + 8, packet[isV4 ? 9 : 6] == 17,
            let source = IPAddress(bytes: isV4 ? packet[12..<16] : packet[8..<24]),
            let destination = IPAddress(bytes: isV4 ? packet[16..<20] : packet[24..<40])
        else { return nil }
        let ports = [0, 2].map { UInt16(packet[header + $0]) << 8 | UInt16(packet[header + $0 + 1]) }
        return Datagram(
            source: source, destination: destination, timeToLive: packet[isV4 ? 8 : 7], ports: ports,
            payload: Array(packet[(header + 8)...]))
    }
}
