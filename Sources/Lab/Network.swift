import CLinux
import Glibc
import Platform
import Synchronization

/// A switch, some servers and a client, each a network namespace of its own; of the host nothing is touched but the
/// directories of ip-netns(8).
///
///     client    eth0 ── p0 ┐
///     node 1    eth0 ── p1 ┤ bridge br0 (in a namespace of its own)
///     node n    eth0 ── pn ┤
///     services  eth0 ── p250 (made when it is asked for)
///     stranger  eth0 ── p251 (made when it is asked for)
///
/// Names begin with a prefix that holds this process's id, so that laboratories run side by side, and what a
/// killed one left behind can be told from what lives (`Leftovers`).
public final class Network: Sendable {
    /// Begins all names: "dvlab-PID-RANDOM".
    public let prefix: String
    public let switchNamespace: Namespace
    public let client: Namespace
    /// The first is node 1.
    public let servers: [Namespace]
    /// Scratch directory, removed at close.
    public let directory: String

    /// IPv6: beside their IPv4 addresses, nodes and client have fd42::NUMBER/64.
    public let family: IPAddress.Family

    public static let interface = "eth0"
    public static let prefixLength = 24
    public static let prefixLength6 = 64

    private struct State {
        var isClosed = false
        var services: Namespace?
        var stranger: Namespace?
        /// Which of `serviceAddress` the services' namespace has.
        var serviceNumbers: Set<Int> = []
    }
    private let state = Mutex(State())

    /// The address of node 1...n on eth0.
    public static func address(ofNode node: Int) -> IPAddress { IPAddress.inSubnet(node) }
    public static var clientAddress: IPAddress { IPAddress.inSubnet(254) }
    /// An address of the subnet that nobody has: the usual VIP of a laboratory.
    public static var vip: IPAddress { IPAddress.inSubnet(100) }
    /// The same in IPv6: fd42::100.
    public static var vip6: IPAddress { IPAddress.inSubnet6(0x100) }
    /// The IPv6 address of node 1...n, where there is IPv6.
    public static func address6(ofNode node: Int) -> IPAddress { IPAddress.inSubnet6(node) }

    /// Builds the network.
    ///
    /// `servers`: 1...90.
    /// - Throws: `LabError` that says so without root, or with what ip(8) said.
    public init(servers count: Int, family: IPAddress.Family = .v4) throws {
        guard geteuid() == 0 else {
            throw LabError("the laboratory makes network namespaces and needs root: run it with sudo")
        }
        guard (1...90).contains(count) else { throw LabError("a laboratory has 1 to 90 servers, not \(count)") }
        let prefix = "\(Leftovers.namePrefix)\(getpid())-\(String(UInt16.random(in: .min ... .max), radix: 16))"
        var made: [Namespace] = []
        do {
            func make(_ suffix: String) throws -> Namespace {
                let namespace = try Namespace.create("\(prefix)-\(suffix)", hasIPv6: family == .v6 && suffix != "sw")
                made.append(namespace)
                return namespace
            }
            directory = try Leftovers.makeDirectory(for: prefix)
            switchNamespace = try make("sw")
            client = try make("cl")
            servers = try (1...count).map { try make("s\($0)") }
        } catch {
            made.forEach { $0.delete() }
            Leftovers.removeDirectory(of: prefix)
            throw error
        }
        self.prefix = prefix
        self.family = family
        do {
            try ToolCommand.check([
                "ip", "-n", switchNamespace.name, "link", "add", "br0", "type", "bridge", "stp_state", "0",
                "forward_delay", "0", "mcast_snooping", "0",
            ])
            try ToolCommand.check(["ip", "-n", switchNamespace.name, "link", "set", "br0", "up"])
            try connect(client, port: 0, address: Self.clientAddress)
            for (index, server) in servers.enumerated() {
                try connect(server, port: index + 1, address: Self.address(ofNode: index + 1))
            }
        } catch {
            close()
            throw error
        }
    }

    func connect(_ namespace: Namespace, port: Int, address: IPAddress) throws {
        let sw = switchNamespace.name
        try ToolCommand.check([
            "ip", "-n", sw, "link", "add", "p\(port)", "type", "veth", "peer", "name", Self.interface, "netns",
            namespace.name,
        ])
        try ToolCommand.check(["ip", "-n", sw, "link", "set", "p\(port)", "master", "br0", "up"])
        try ToolCommand.check([
            "ip", "-n", namespace.name, "address", "add", "\(address)/\(Self.prefixLength)", "brd", "+", "dev",
            Self.interface,
        ])
        try ToolCommand.check(["ip", "-n", namespace.name, "link", "set", Self.interface, "up"])
        if family == .v6 {
            // The host part of the IPv4 address, so that a node's number is seen in both.
            let own = IPAddress.inSubnet6(Int(address.bytes[3]))
            try ToolCommand.check([
                "ip", "-n", namespace.name, "address", "add", "\(own)/\(Self.prefixLength6)", "dev", Self.interface,
                "nodad",
            ])
        }
    }

    /// Ends every process in the namespaces and removes everything. Further calls do nothing.
    public func close() {
        let last: State? = state.withLock { state in
            defer { state.isClosed = true }
            return state.isClosed ? nil : state
        }
        guard let last else { return }
        for namespace in servers + [client, last.services, last.stranger, switchNamespace].compactMap({ $0 }) {
            namespace.killProcesses()
            namespace.delete()
        }
        Leftovers.removeDirectory(of: prefix)
    }

    /// Leaves namespaces, processes and directory behind, for somebody who wants to look around.
    public func keep() throws {
        state.withLock { $0.isClosed = true }
        try Leftovers.markKept(prefix)
    }

    deinit { close() }
}

/// Where the servers run that nodes find each other by: name servers, key-value stores.
extension Network {
    /// An address of the services' namespace, 10.42.0.250 and downwards; 0...49.
    public static func serviceAddress(_ number: Int) -> IPAddress { IPAddress.inSubnet(250 - number) }

    /// The namespace for such servers, with `serviceAddress(number)` in it. Made by the first call.
    public func services(with number: Int = 0) throws -> Namespace {
        try state.withLock { state in
            guard !state.isClosed else { throw LabError("the network \(prefix) is closed") }
            let namespace: Namespace
            if let made = state.services {
                namespace = made
            } else {
                namespace = try Namespace.create("\(prefix)-sv")
                state.services = namespace
                try connect(namespace, port: 250, address: Self.serviceAddress(0))
                state.serviceNumbers.insert(0)
            }
            if state.serviceNumbers.insert(number).inserted {
                try ToolCommand.check([
                    "ip", "-n", namespace.name, "address", "add", "\(Self.serviceAddress(number))/\(Self.prefixLength)",
                    "dev", Self.interface,
                ])
            }
            return namespace
        }
    }

    /// A host on the same wire that is no node and no client of the VIP: 10.42.0.251. Made by the first call.
    public func stranger() throws -> Namespace {
        try state.withLock { state in
            guard !state.isClosed else { throw LabError("the network \(prefix) is closed") }
            if let made = state.stranger { return made }
            let namespace = try Namespace.create("\(prefix)-st")
            state.stranger = namespace
            try connect(namespace, port: 251, address: Self.strangerAddress)
            return namespace
        }
    }

    public static var strangerAddress: IPAddress { IPAddress.inSubnet(251) }

    /// Lets the processes that are started from now on at a node ask these name servers, in this order.
    public func setResolver(ofNode node: Int, to nameServers: [IPAddress], search domain: String? = nil) throws {
        let lines = nameServers.map { "nameserver \($0)" } + (domain.map { ["search \($0)"] } ?? [])
        try servers[node - 1].setFile("resolv.conf", lines.joined(separator: "\n") + "\n")
    }
}

/// Faults of the wire.
extension Network {
    /// Takes the switch's side of the node's cable down or up: the node sees its carrier go.
    public func setLink(ofNode node: Int, up: Bool) throws {
        try ToolCommand.check(["ip", "-n", switchNamespace.name, "link", "set", "p\(node)", up ? "up" : "down"])
    }

    /// Lets the switch's port forward nothing, or again: carrier stays, nobody is told.
    public func setForwarding(ofNode node: Int, _ forwards: Bool) throws {
        // linux/if_bridge.h: BR_STATE_DISABLED 0, BR_STATE_FORWARDING 3. `ip link set ... state` is silently ignored.
        try ToolCommand.check([
            "bridge", "-n", switchNamespace.name, "link", "set", "dev", "p\(node)", "state", forwards ? "3" : "0",
        ])
    }

    /// The IPv4 addresses of a node's eth0 as "address/prefix length", in the kernel's order.
    public func addresses(ofNode node: Int) throws -> [String] {
        let text = try ToolCommand.check(
            ["ip", "-n", servers[node - 1].name, "-4", "-o", "address", "show", "dev", Self.interface])
        return text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.firstIndex(of: "inet").map { String(words[$0 + 1]) }
        }
    }

    /// The addresses of a node's eth0 that are not its own; link-local ones left out.
    public func foreignAddresses(ofNode node: Int) throws -> [String] {
        var all = try addresses(ofNode: node)
        if family == .v6 {
            let text = try ToolCommand.check(
                [
                    "ip", "-n", servers[node - 1].name, "-6", "-o", "address", "show", "dev", Self.interface, "scope",
                    "global",
                ])
            all += text.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                return words.firstIndex(of: "inet6").map { String(words[$0 + 1]) }
            }
        }
        let own = ["\(Self.address(ofNode: node))/", "\(Self.address6(ofNode: node))/"]
        return all.filter { address in !own.contains { address.hasPrefix($0) } }
    }

    /// Removes all addresses of a node's eth0 but its own.
    public func dropForeignAddresses(ofNode node: Int) throws {
        for address in try foreignAddresses(ofNode: node) {
            // One whose lifetime ends at this moment is gone, as it should be.
            _ = try ToolCommand.run(
                ["ip", "-n", servers[node - 1].name, "address", "delete", address, "dev", Self.interface])
        }
    }

    /// The hardware address of a node's eth0.
    public func hardwareAddress(ofNode node: Int) throws -> [UInt8] {
        try hardwareAddress(of: Self.interface, in: servers[node - 1])
    }

    private func hardwareAddress(of interface: String, in namespace: Namespace) throws -> [UInt8] {
        // Not by /sys, which shows the namespace that mounted it.
        let text = try ToolCommand.check(["ip", "-n", namespace.name, "-o", "link", "show", "dev", interface])
        let words = text.split(separator: " ")
        guard let index = words.firstIndex(of: "link/ether"), index + 1 < words.count else {
            throw LabError("\(namespace.name): no hardware address in \"\(text)\"")
        }
        return words[index + 1].split(separator: ":").compactMap { UInt8($0, radix: 16) }
    }

    /// Sends gratuitous ARP for an address from a node, both forms.
    public func announce(_ address: IPAddress, fromNode node: Int) throws {
        try announce(address, from: servers[node - 1], interface: Self.interface)
    }

    /// The same from any namespace and interface.
    public func announce(_ address: IPAddress, from namespace: Namespace, interface: String) throws {
        let hardware = try hardwareAddress(of: interface, in: namespace)
        try namespace.perform {
            for operation in [ARPFrame.Operation.request, .reply] {
                try PacketSocket.send(ARPFrame.announcement(of: address, at: hardware, operation), interface: interface)
            }
        }
    }

    /// Makes an address of a node permanent and keeps its tag: what a crash leaves where nothing limits its life.
    public func freeze(_ address: IPAddress, onNode node: Int, tag: UInt8) throws {
        try servers[node - 1].perform {
            let descriptor = try retryingOnInterrupt("open a netlink socket") {
                socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            }
            defer { Glibc.close(descriptor) }
            let request = AddressMessages.replacement(
                address, prefixLength: UInt8(Self.prefixLength), interface: if_nametoindex(Self.interface), tag: tag)
            try retryingOnInterrupt("send to the kernel") { send(descriptor, request, request.count, 0) }
            var answer = [UInt8](repeating: 0, count: 4096)
            let count = try retryingOnInterrupt("hear from the kernel") { recv(descriptor, &answer, answer.count, 0) }
            let code = AddressMessages.acknowledgement(Array(answer[..<count]))
            guard code == 0 else { throw SystemError("set the address", "\(address)", errno: code ?? EBADMSG) }
        }
    }

    /// Packets that the switch got from the node so far.
    public func packets(fromNode node: Int) throws -> Int {
        let path = "/sys/class/net/p\(node)/statistics/rx_packets"
        let text = try ToolCommand.check(["cat", path], in: switchNamespace)
        return Int(text.trimmingNewlines()) ?? 0
    }
}

extension IPAddress {
    /// fd42::`number`, where there is IPv6.
    static func inSubnet6(_ number: Int) -> IPAddress {
        let end = UInt16(truncatingIfNeeded: number)
        let bytes: [UInt8] = [0xFD, 0x42] + [UInt8](repeating: 0, count: 12) + [UInt8(end >> 8), UInt8(end & 0xFF)]
        guard let address = IPAddress(bytes: bytes) else { preconditionFailure("16 bytes are an IPv6 address") }
        return address
    }

    /// 10.42.0.`host`, the laboratories' only subnet: each has it to itself.
    static func inSubnet(_ host: Int) -> IPAddress {
        guard let address = IPAddress(bytes: [10, 42, 0, UInt8(truncatingIfNeeded: host)]) else {
            preconditionFailure("four bytes are an IPv4 address")
        }
        return address
    }
}
