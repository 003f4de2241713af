import Lab
import Platform
import Synchronization
import Testing

@testable import Discovery

@Suite("multicast: interfaces that come and go", .serialized)
struct MulticastInterfaceTests {
    private typealias Net = MulticastNetwork

    /// Waits until a look-up fails, and gives its error.
    private func failure(_ discovery: MulticastDiscovery, _ what: String, containing text: String) async throws {
        let last = Mutex("none")
        try await eventually(what, within: .seconds(30), state: { last.withLock { $0 } }) {
            // Also when nodes heard before are still told, the status says what is wrong now.
            _ = try? await discovery.lookUp()
            let error = discovery.statistics.lastError ?? "no error"
            last.withLock { $0 = error }
            return error.contains(text)
        }
    }

    @Test("a node whose interface, and then its address, come later finds and is found; each change is logged once")
    func lateInterface() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        try lan.ip(1, "link set eth0 down")
        try lan.ip(1, "address flush dev eth0")
        try lan.ip(1, "link set eth0 name later0")
        let log = MulticastLog()
        let late = try lan.discovery(on: 1, log: log)
        let other = try lan.discovery(on: 2)
        late.announce(Net.announcement(1))
        other.announce(Net.announcement(2))
        try await lan.withRunning([late, other]) {
            for _ in 0..<3 {
                let error = await #expect(throws: DiscoveryError.self) { try await late.lookUp() }
                #expect(error?.code == .unreachable)
                #expect(error?.message.contains("there is no interface \"eth0\"") == true)
            }
            #expect(late.statistics.announceError?.contains("there is no interface \"eth0\"") == true)
            try lan.ip(1, "link set later0 name eth0")
            try await failure(late, "that it is down", containing: "eth0 is down")
            try lan.ip(1, "link set eth0 up")
            try await failure(late, "that it has no address", containing: "eth0 has no IPv4 address")
            try lan.ip(1, "address add 10.42.0.1/24 dev eth0")
            try await late.find([Net.address(2)])
            #expect(late.statistics.lastError == nil)
            #expect(late.statistics.announceError == nil)
            try await other.find([Net.address(1)])
        }
        #expect(log.warnings.filter { $0.contains("there is no interface") }.count == 1)
        #expect(log.warnings.filter { $0.contains("is down") }.count == 1)
        #expect(log.lines.filter { $0.text.contains("is reached over eth0") }.count == 1)
    }

    @Test("a node that looks for nobody is found again after its link was down")
    func linkDownAndUp() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let log = MulticastLog()
        let node = try lan.discovery(on: 1, log: log)
        node.announce(Net.announcement(1))
        try await lan.withRunning([node]) {
            try await lan.discovery(on: 2).find([Net.address(1)])
            try lan.network.setLink(ofNode: 1, up: false)
            try await eventually("the loss of the carrier in the status", within: .seconds(30)) {
                node.statistics.announceError?.contains("eth0 has no carrier") == true
            }
            #expect(try await lan.discovery(on: 2).lookUp() == [])
            try lan.network.setLink(ofNode: 1, up: true)
            try await lan.discovery(on: 2).find([Net.address(1)])
            try await eventually("the end of the trouble", within: .seconds(30)) {
                node.statistics.announceError == nil
            }

            try lan.ip(1, "link set eth0 down")
            try await failure(node, "that the interface is down", containing: "eth0 is down")
            try lan.ip(1, "link set eth0 up")
            try await lan.discovery(on: 2).find([Net.address(1)])
        }
        #expect(log.warnings.filter { $0.contains("no carrier") }.count == 1)
    }

    @Test("an interface that is replaced by another of the same name is joined anew, though nobody looks")
    func replaced() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let node = try lan.discovery(on: 1)
        node.announce(Net.announcement(1))
        try await lan.withRunning([node]) {
            try await lan.discovery(on: 2).find([Net.address(1)])
            try lan.ip(1, "link delete eth0")
            let (sw, name) = (lan.network.switchNamespace.name, lan.network.servers[0].name)
            try ToolCommand.check(
                ["ip", "-n", sw, "link", "add", "p1", "type", "veth", "peer", "name", "eth0", "netns", name])
            try ToolCommand.check(["ip", "-n", sw, "link", "set", "p1", "master", "br0", "up"])
            try lan.ip(1, "address add 10.42.0.1/24 dev eth0")
            try lan.ip(1, "link set eth0 up")
            try await lan.discovery(on: 2).find([Net.address(1)])
        }
    }

    @Test("a look-up that was cancelled before it began ends so, and the next one works")
    func cancelledBefore() async throws {
        let lan = try Net(nodes: 1)
        defer { lan.close() }
        let node = try lan.discovery(on: 1)
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await node.lookUp()
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(try await node.lookUp() == [])
    }

    @Test("a look-up that is cancelled while it runs ends at once")
    func cancelledMeanwhile() async throws {
        let lan = try Net(nodes: 1)
        defer { lan.close() }
        var limits = MulticastLimits()
        limits.lookUp = .seconds(600)
        let node = try lan.discovery(on: 1, limits: limits)
        let task = Task { try await node.lookUp() }
        // Its own question comes back when it runs.
        try await eventually("question", within: .seconds(30)) { node.counts.own > 0 }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("look-ups at the same time share one")
    func concurrent() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let other = try lan.discovery(on: 2)
        other.announce(Net.announcement(2))
        try await lan.withRunning([other]) {
            let node = try lan.discovery(on: 1)
            try await node.find([Net.address(2)])
            try await withThrowingTaskGroup(of: [HostPort].self) { group in
                for _ in 0..<20 { group.addTask { try await node.lookUp() } }
                for try await found in group { #expect(found == [Net.address(2)]) }
            }
        }
    }

    @Test("a host that has no thread to give is told, and the next look-up tries again")
    func noThread() async throws {
        let isPossible = Mutex(false)
        let context = DiscoveryContext(
            key: "k", clusterPort: 8800, family: .v4, interface: "lo", logger: MulticastLog().logger)
        var fields = ConfigurationFields([:])
        let discovery = try MulticastDiscovery(MulticastConfiguration(from: &fields), context) { body in
            guard isPossible.withLock({ $0 }) else { throw SystemError("start a thread", errno: 11) }
            try BlockingThread.start(named: "disco-mcast", body)
        }
        discovery.announce(Net.announcement(1))
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(error?.code == .system)
        #expect(discovery.statistics.lastError?.contains("cannot start a thread") == true)
        #expect(discovery.statistics.announceError?.contains("cannot start a thread") == true)
        isPossible.withLock { $0 = true }
        #expect(try await discovery.lookUp() == [])
        #expect(discovery.statistics.lastError == nil)
        #expect(discovery.statistics.announceError == nil)
    }
}
