import CLinux
import Glibc
import Lab
import Platform
import Synchronization
import Testing

@testable import Discovery

/// Real sockets on a real bridge: needs root.
@Suite("multicast: nodes on a LAN", .serialized)
struct MulticastNetworkTests {
    private typealias Net = MulticastNetwork

    private static let secret: [String: JSONValue] = ["secret": .string("open sesame")]

    @Test("three nodes find each other with nothing configured, and who is no node finds them all")
    func threeNodes() async throws {
        let lan = try Net(nodes: 3)
        defer { lan.close() }
        let log = MulticastLog()
        let nodes = try (1...3).map { try lan.discovery(on: $0, log: log) }
        for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1)) }
        try await lan.withRunning(nodes) {
            for (index, node) in nodes.enumerated() {
                try await node.find((1...3).filter { $0 != index + 1 }.map { Net.address($0) })
                #expect(node.statistics.lastError == nil)
                #expect(node.statistics.announceError == nil)
                #expect(node.statistics.lastContact != nil)
                #expect(node.statistics.isRegistered == nil)
            }
            let visitor = try lan.discovery(in: lan.network.client)
            try await visitor.find((1...3).map { Net.address($0) })
            #expect(log.lines.contains { $0.text == "multicast discovery: found node2 at 10.42.0.2:8800" })
            #expect(log.warnings.isEmpty)
        }
    }

    @Test("nodes that look for nobody any more answer one that comes later, until they withdraw")
    func latecomer() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let early = try lan.discovery(on: 1, Self.secret)
        early.announce(Net.announcement(1))
        try await lan.withRunning([early]) {
            let late = try lan.discovery(on: 2, Self.secret)
            try await late.find([Net.address(1)])
            await early.withdraw()
            let fresh = try lan.discovery(on: 2, Self.secret)
            #expect(try await fresh.lookUp() == [])
            try await eventually("question of the last one", within: .seconds(30)) { early.counts.questions > 1 }
        }
    }

    @Test("it works without any privilege")
    func unprivileged() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let nodes = try (1...2).map { try lan.discovery(on: $0, asRoot: false) }
        for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1)) }
        try await lan.withRunning(nodes) {
            try await nodes[0].find([Net.address(2)])
            try await nodes[1].find([Net.address(1)])
        }
    }

    @Test("two daemons of one host share the port")
    func oneHost() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let nodes = try [1, 1, 2].map { try lan.discovery(on: $0) }
        for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1)) }
        try await lan.withRunning(nodes) {
            for (index, node) in nodes.enumerated() {
                try await node.find((1...3).filter { $0 != index + 1 }.map { Net.address($0) })
            }
        }
    }

    @Test("clusters with other disco keys do not see each other, nor do groups and ports")
    func apart() async throws {
        let lan = try Net(nodes: 3)
        defer { lan.close() }
        let blue = try [1, 2].map { try lan.discovery(on: $0) }
        let others = [
            try lan.discovery(on: 3, key: "green"),
            try lan.discovery(on: 3, ["group": .string("239.77.86.80:8802")]),
            try lan.discovery(on: 3, ["group": .string("239.77.86.81:8801")]),
        ]
        for (index, node) in (blue + others).enumerated() { node.announce(Net.announcement(index + 1)) }
        try await lan.withRunning(blue + others) {
            try await blue[0].find([Net.address(2)])
            for other in others { #expect(try await other.lookUp() == []) }
            try await eventually("a question of the other key", within: .seconds(30)) { blue[0].counts.foreign > 0 }
            #expect(others[1].counts.foreign + others[2].counts.foreign == 0)
        }
    }

    @Test("IPv6: nodes find each other in a group of link scope, the default, and in one of site scope")
    func version6() async throws {
        let lan = try Net(nodes: 3)
        defer { lan.close() }
        try lan.enableIPv6()
        for group in [nil, "[ff05::4d56:50]:8803"] {
            let configuration = group.map { ["group": JSONValue.string($0)] } ?? [:]
            let log = MulticastLog()
            let nodes = try (1...3).map { try lan.discovery(on: $0, configuration, family: .v6, log: log) }
            for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1, .v6)) }
            try await lan.withRunning(nodes) {
                for (index, node) in nodes.enumerated() {
                    try await node.find((1...3).filter { $0 != index + 1 }.map { Net.address($0, .v6) })
                }
            }
            #expect(log.warnings.isEmpty)
        }
    }

    @Test("IPv6: an interface that has none is told as such, and used once it has")
    func version6Later() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let nodes = try (1...2).map { try lan.discovery(on: $0, family: .v6) }
        for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1, .v6)) }
        let error = await #expect(throws: DiscoveryError.self) { try await nodes[0].lookUp() }
        #expect(error?.message.contains("eth0") == true, "\(String(describing: error))")
        try lan.enableIPv6()
        try await lan.withRunning(nodes) { try await nodes[0].find([Net.address(2, .v6)]) }
    }

    @Test("time to live and hop limit are on the wire as configured; all goes from port to port of the group")
    func wire() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        try lan.enableIPv6()
        let capture = try DatagramCapture(lan.network.client)
        // Each on a port of its own: what is still under way does not disturb the next.
        for (family, group, port, ttl) in [
            (.v4, nil, 8801, nil), (.v4, "239.77.86.81", 8802, 3), (.v6, "ff02::77", 8803, 7),
        ] as [(IPAddress.Family, String?, UInt16, Int64?)] {
            var configuration: [String: JSONValue] = [:]
            if let group { configuration["group"] = .string("\(HostPort(host: group, port: port))") }
            if let ttl { configuration["ttl"] = .integer(ttl) }
            let nodes = try (1...2).map { try lan.discovery(on: $0, configuration, family: family) }
            nodes[1].announce(Net.announcement(2, family))
            try await lan.withRunning(nodes) { try await nodes[0].find([Net.address(2, family)]) }
            let seen = capture.take(port: port)
            #expect(seen.count >= 2)
            #expect(seen.allSatisfy { $0.timeToLive == ttl ?? 1 })
            #expect(seen.allSatisfy { $0.ports == [port, port] })
            #expect(seen.allSatisfy { $0.destination.description == group ?? "239.77.86.80" })
            #expect(Set(seen.map(\.source)).count == 2)
        }
    }

    @Test("a datagram that comes over another interface is not heard")
    func otherInterface() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        try lan.ip(1, "link add side type veth peer name side netns \(lan.network.servers[1].name)")
        for node in [1, 2] {
            try lan.ip(node, "address add 10.43.0.\(node)/24 dev side")
            try lan.ip(node, "link set side up")
        }
        let group = MulticastConfiguration.defaultGroup(for: .v4)
        // Another program of node 1 has joined the group there, so that the kernel takes it in.
        let witness = try lan.network.servers[0].perform {
            try MulticastSocket(group, interface: if_nametoindex("side"), timeToLive: 1)
        }
        let main = try lan.discovery(on: 1)
        main.announce(Net.announcement(1))
        try await lan.withRunning([main]) {
            try await lan.discovery(on: 2).find([Net.address(1)])
            let before = main.counts
            let side = try lan.discovery(on: 2, ["interface": .string("side")])
            try await eventually("a question on the side", within: .seconds(30)) {
                #expect(try await side.lookUp() == [])
                var buffer = [UInt8](repeating: 0, count: 2048)
                return try witness.receive(into: &buffer) != nil
            }
            #expect(main.counts == before)
        }
    }
}

@Suite("multicast: enemies on a LAN", .serialized)
struct MulticastEnemyTests {
    private typealias Net = MulticastNetwork

    @Test("nodes with another secret or none do not find each other; both say so once, and in the status")
    func mismatch() async throws {
        let lan = try Net(nodes: 3)
        defer { lan.close() }
        let logs = (1...3).map { _ in MulticastLog() }
        let secrets: [[String: JSONValue]] = [["secret": .string("one")], ["secret": .string("two")], [:]]
        let nodes = try (1...3).map { try lan.discovery(on: $0, secrets[$0 - 1], log: logs[$0 - 1]) }
        for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1)) }
        // Node 1 looks for nobody: it is a notice that tells the others.
        try await lan.withRunning([nodes[0]]) {
            try await eventually("word of both others at all three", within: .seconds(30)) {
                for node in nodes.dropFirst() {
                    let found = try await node.lookUp()
                    #expect(found == [])
                }
                return logs.allSatisfy { $0.warnings.count >= 2 }
            }
            // Once more, so that a repetition would show.
            for node in nodes.dropFirst() { _ = try await node.lookUp() }
        }
        let told = logs.map { $0.warnings.sorted() }
        func line(_ node: Int, _ what: String) -> String {
            "multicast discovery: the node at 10.42.0.\(node) uses \(what): "
                + "give all nodes of a cluster the same \"secret\" in --disco-config"
        }
        let another = "another secret for discovery than this one"
        let noneThere = "no secret for discovery, and this one does"
        let noneHere = "a secret for discovery, and this one does not"
        #expect(told[0] == [line(2, another), line(3, noneThere)])
        #expect(told[1] == [line(1, another), line(3, noneThere)])
        #expect(told[2] == [line(1, noneHere), line(2, noneHere)])
        #expect(nodes[2].statistics.lastError?.contains("uses a secret for discovery, and this one does not") == true)
        for (secret, log) in zip(["one", "two"], told) { #expect(!log.joined().contains("\"\(secret)\"")) }
    }

    @Test("datagrams that somebody recorded and sends again find nobody")
    func replay() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let secret: [String: JSONValue] = ["secret": .string("s")]
        let capture = try DatagramCapture(lan.network.client)
        do {
            let gone = try lan.discovery(on: 2, secret)
            gone.announce(Net.announcement(2))
            try await lan.withRunning([gone]) {
                try await lan.discovery(on: 1, secret).find([Net.address(2)])
            }
        }
        let seal = MulticastSeal(key: "blue", secret: Self.configuration(secret).secret)
        let recorded = capture.take().map(\.payload)
        let answers = recorded.filter { if case .message(.answer) = seal.open($0) { true } else { false } }
        #expect(!answers.isEmpty)

        let group = MulticastConfiguration.defaultGroup(for: .v4)
        let enemy = try lan.network.client.perform {
            try MulticastSocket(group, interface: if_nametoindex(Network.interface), timeToLive: 1)
        }
        let node = try lan.discovery(on: 1, secret)
        #expect(try await node.lookUp() == [])
        let enough = Mutex(false)
        let task = Task {
            while !enough.withLock({ $0 }) {
                for bytes in recorded { try enemy.send(bytes) }
                try await Task.sleep(for: .milliseconds(5))
            }
        }
        try await eventually("the replay at the node", within: .seconds(30)) { node.counts.otherAnswers >= 20 }
        for _ in 0..<3 { #expect(try await node.lookUp() == []) }
        enough.withLock { $0 = true }
        try await task.value
        #expect(node.counts.answers == 0)
        #expect(node.counts.otherAnswers >= 60)
        #expect(node.statistics.lastError == nil)
    }

    private static func configuration(_ object: [String: JSONValue]) -> MulticastConfiguration {
        var fields = ConfigurationFields(object)
        return MulticastConfiguration(from: &fields)
    }

    @Test("a flood draws a bounded number of answers, and the nodes find each other meanwhile")
    func flood() async throws {
        let lan = try Net(nodes: 2)
        defer { lan.close() }
        let capture = try DatagramCapture(lan.network.client)
        let nodes = try (1...2).map { try lan.discovery(on: $0) }
        for (index, node) in nodes.enumerated() { node.announce(Net.announcement(index + 1)) }
        let group = MulticastConfiguration.defaultGroup(for: .v4)
        let enemy = try lan.network.client.perform {
            try MulticastSocket(group, interface: if_nametoindex(Network.interface), timeToLive: 1)
        }
        let seal = MulticastSeal(key: "blue", secret: nil)
        try await lan.withRunning(nodes) {
            try await nodes[0].find([Net.address(2)])
            let start = BootClock.now
            var dice = Dice(seed: 3)
            for round in 0..<50 {
                for _ in 0..<20 {
                    let question = MulticastMessage.question(nonce: MulticastNonce(using: &dice), nodeID: "x")
                    try enemy.send(try #require(seal.close(question)))
                }
                try enemy.send([UInt8](repeating: UInt8(round), count: 1400))
                try await Task.sleep(for: .milliseconds(5))
            }
            try await nodes[1].find([Net.address(1)])
            let milliseconds = start.duration(to: BootClock.now).inMilliseconds
            let answers = capture.take().filter { datagram in
                guard case .message(.answer(_, let record)) = seal.open(datagram.payload) else { return false }
                return record.address == Net.address(1)
            }
            #expect(answers.count <= 10 + 8 + Int(milliseconds) / 50 + 1)
        }
    }
}
