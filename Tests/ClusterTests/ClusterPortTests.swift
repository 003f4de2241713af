import Dqlite
import Glibc
import Logging
import NIOCore
import NIOPosix
import Platform
import Testing

@testable import Cluster

/// A node behind the port that answers from a script. Its "libdqlite" is an abstract socket of the test's own.
private struct ScriptedDelegate: ClusterPortDelegate {
    var socket: DqliteAddress?
    var answer: @Sendable (PortRequest) async -> PortReply = { _ in .written }
    var refusal: PortFailure?
    var enter: @Sendable (any Channel, RaftHandshake) -> EventLoopFuture<Void> = { channel, _ in
        channel.eventLoop.makeSucceededVoidFuture()
    }

    var members: Set<String> = []

    func answer(_ request: PortRequest, from peer: PortPeer) async -> PortReply { await answer(request) }
    func isMember(_ address: IPAddress) -> Bool { members.contains(address.description) }

    func admitRaft(_ handshake: RaftHandshake, from peer: PortPeer) throws(PortFailure) -> RaftAdmission {
        if let refusal { throw refusal }
        return RaftAdmission(acceptance: RaftAcceptance(dqliteID: 3), enter: enter)
    }

    var clientSocket: DqliteAddress? { socket }
}

/// A listener on an abstract unix socket that hands over each connection as a plain descriptor.
final class AbstractListener: Sendable {
    let name: String
    let descriptor: Int32

    init() throws {
        name = "dqlite-vip-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(bound == 0)
        try #require(Glibc.listen(descriptor, 16) == 0)
    }

    func accept() -> Int32 { Glibc.accept(descriptor, nil, nil) }
    deinit { close(descriptor) }
}

/// A blocking TCP connection to the port under test.
private final class Connection: Sendable {
    let descriptor: Int32

    init(to port: UInt16, from source: UInt32 = 0x7F00_0001) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        let bound = Self.with(source, 0) { bind(descriptor, $0, $1) }
        try #require(bound == 0)
        let connected = Self.with(0x7F00_0001, port) { connect(descriptor, $0, $1) }
        try #require(connected == 0)
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private static func with(
        _ host: UInt32, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = host.bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    func send(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    /// Up to `count` bytes; fewer when the other side closes first. Waits on a thread of its own: the port answers with
    /// the help of the pool's.
    func receive(_ count: Int) async -> [UInt8] {
        let descriptor = descriptor
        return await blockingValue { receiveBytes(descriptor, count) }
    }

    deinit { close(descriptor) }
}

func receiveBytes(_ descriptor: Int32, _ count: Int) -> [UInt8] {
    var received: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while received.count < count {
        let read = recv(descriptor, &chunk, min(chunk.count, count - received.count), 0)
        if read <= 0 { break }
        received += chunk[..<read]
    }
    return received
}

private func withPort<Result: Sendable>(
    _ delegate: ScriptedDelegate, limits: ClusterPort.Limits = .init(),
    _ body: (HostPort, any EventLoopGroup) async throws -> Result
) async throws -> Result {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let port = ClusterPort(group: group, limits: limits, delegate: delegate, logger: Logger(label: "test"))
    let address = try await port.listen(on: HostPort(host: "127.0.0.1", port: 0))
    do {
        let result = try await body(address, group)
        await port.close()
        try await group.shutdownGracefully()
        return result
    } catch {
        await port.close()
        try await group.shutdownGracefully()
        throw error
    }
}

@Suite("The cluster port")
struct ClusterPortTests {
    @Test("a peer's request is answered, and several on one connection in order")
    func requests() async throws {
        let delegate = ScriptedDelegate(answer: { request in
            if case .read = request { .configuration(.init(addresses: ["10.0.0.1/24"])) } else { .written }
        })
        try await withPort(delegate) { address, group in
            let client = PeerClient(group: group)
            let reply = try await client.ask(.read(clusterID: "c"), of: address, timeout: .seconds(60))
            guard case .configuration(let configuration) = reply else {
                Issue.record("answered \(reply)")
                return
            }
            #expect(configuration.addresses == ["10.0.0.1/24"])

            let connection = try Connection(to: address.port)
            let read = Array(
                ByteBuffer(peerFrame: try PortCoding.encode(PortRequest.read(clusterID: "c"))).readableBytesView)
            let write = Array(
                ByteBuffer(peerFrame: try PortCoding.encode(PortRequest.write(.setAddresses([]), clusterID: "c")))
                    .readableBytesView)
            connection.send(PeerProtocol.magic + read + write)
            let first = try await frame(connection)
            let second = try await frame(connection)
            guard case .configuration = first, case .written = second else {
                Issue.record("answered \(first), \(second)")
                return
            }
        }
    }

    private func frame(_ connection: Connection) async throws -> PortReply {
        let length = await connection.receive(4).reduce(0) { $0 << 8 | Int($1) }
        return try PortCoding.decode(PortReply.self, from: await connection.receive(length))
    }

    @Test("somebody who speaks HTTP to it is told which port he is looking for")
    func http() async throws {
        try await withPort(ScriptedDelegate()) { address, _ in
            let connection = try Connection(to: address.port)
            connection.send(Array("GET /status HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
            let answer = String(decoding: await connection.receive(4096), as: UTF8.self)
            #expect(answer.hasPrefix("HTTP/1.1 400 "))
            #expect(answer.contains("--bind-http"))
        }
    }

    @Test(
        "what is neither a peer nor a dqlite client is closed without an answer",
        arguments: [
            [UInt8](repeating: 0, count: 8), [2, 0, 0, 0, 0, 0, 0, 0], Array("SSH-2.0-".utf8),
            [UInt8](repeating: 0xFF, count: 64),
        ])
    func strangers(opening: [UInt8]) async throws {
        try await withPort(ScriptedDelegate()) { address, _ in
            let connection = try Connection(to: address.port)
            connection.send(opening)
            #expect(await connection.receive(1).isEmpty)
        }
    }

    @Test("a connection that says nothing is closed when patience ends, and does not keep others out")
    func silence() async throws {
        let limits = ClusterPort.Limits(unidentified: 2, patience: .milliseconds(200))
        try await withPort(ScriptedDelegate(), limits: limits) { address, group in
            let silent = try Connection(to: address.port)
            let silent2 = try Connection(to: address.port)
            #expect(await silent.receive(1).isEmpty)
            #expect(await silent2.receive(1).isEmpty)
            _ = try await PeerClient(group: group).ask(
                .write(.setAddresses([]), clusterID: "c"), of: address, timeout: .seconds(60))
        }
    }

    @Test("the oldest of those that say nothing makes room for a new one, and those that speak are served")
    func eviction() async throws {
        let limits = ClusterPort.Limits(unidentified: 3, patience: .seconds(60))
        try await withPort(ScriptedDelegate(), limits: limits) { address, group in
            let silent = try (0..<3).map { _ in try Connection(to: address.port) }
            for _ in 0..<5 {
                // Evicts one of the silent at first, later nobody: who was served is not among them any more.
                _ = try await PeerClient(group: group).ask(
                    .write(.setAddresses([]), clusterID: "c"), of: address, timeout: .seconds(60))
            }
            #expect(await silent[0].receive(1).isEmpty, "the oldest was closed")
            let http = Array("GET /status".utf8)
            for connection in silent[1...] {
                connection.send(http)
                #expect(await connection.receive(8) == Array("HTTP/1.1".utf8), "the younger ones were not")
            }
        }
    }

    @Test("one address that opens connections and says nothing crowds out itself, and nobody else")
    func evictionOfOneSource() async throws {
        let limits = ClusterPort.Limits(unidentified: 8, unidentifiedOfOne: 2, patience: .seconds(60))
        try await withPort(ScriptedDelegate(), limits: limits) { address, group in
            let other = try Connection(to: address.port, from: 0x7F00_0002)
            let flood = try (0..<20).map { _ in try Connection(to: address.port) }
            for connection in flood.dropLast(2) { #expect(await connection.receive(1).isEmpty) }
            for connection in flood.suffix(2) + [other] {
                connection.send(Array("GET /status".utf8))
                #expect(await connection.receive(8) == Array("HTTP/1.1".utf8))
            }
        }
    }

    @Test("evictions are bounded, in order, and reported once a minute")
    func evictionCore() {
        final class Named {}
        let names = (0..<6).map { _ in Named() }
        var connections = UnidentifiedConnections<Int>(most: 4, mostOfOne: 2)
        func time(_ seconds: Int64) -> BootInstant { BootInstant(nanoseconds: seconds * 1_000_000_000) }
        func enter(_ index: Int, _ source: String, at seconds: Int64) -> (Int, Bool)? {
            connections.enter(ObjectIdentifier(names[index]), index, from: source, now: time(seconds))
                .map { ($0.connection, $0.isReported) }
        }
        #expect(enter(0, "a", at: 100) == nil)
        #expect(enter(1, "b", at: 100) == nil)
        #expect(enter(2, "b", at: 100) == nil)
        #expect(enter(3, "b", at: 100).map { $0 == (1, true) } == true, "the oldest of its own address")
        #expect(enter(4, "c", at: 100) == nil)
        #expect(enter(5, "d", at: 159).map { $0 == (0, false) } == true, "the oldest of all")
        connections.leave(ObjectIdentifier(names[2]))
        #expect(enter(1, "b", at: 160) == nil, "who has spoken has made room")
        #expect(enter(2, "e", at: 160).map { $0 == (3, true) } == true)
    }

    @Test("a port that is taken is waited for, and told with address and remedy when it stays taken")
    func takenPort() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let holder = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let address = HostPort(host: "127.0.0.1", port: UInt16(try #require(holder.localAddress?.port)))
        func port(patience: Duration) -> ClusterPort {
            ClusterPort(
                group: group, limits: .init(portPatience: patience), delegate: ScriptedDelegate(),
                logger: Logger(label: "test"))
        }
        let error = await #expect(throws: SystemError.self) {
            try await port(patience: .milliseconds(50)).listen(on: address)
        }
        let text = error?.description ?? ""
        for words in [address.description, "in use", "ss -ltnp sport = :\(address.port)", "--bind-cluster"] {
            #expect(text.contains(words), "\(text)")
        }
        let start = BootClock.now
        async let freed: Void = {
            try await Task.sleep(for: .milliseconds(300))
            try await holder.close()
        }()
        let patient = port(patience: .seconds(60))
        #expect(try await patient.listen(on: address) == address)
        #expect(start.duration(to: BootClock.now) >= .milliseconds(300))
        try await freed
        await patient.close()
        try await group.shutdownGracefully()
    }

    @Test("one source that opens peer connections and asks nothing crowds out itself; members and others find a seat")
    func floodOfPeers() async throws {
        let limits = ClusterPort.Limits(
            peers: .init(most: 6, mostOfOne: 3, kept: 2), patience: .seconds(60))
        let delegate = ScriptedDelegate(members: ["127.0.0.9"])
        try await withPort(delegate, limits: limits) { address, group in
            let floods = try (0..<6).map { _ in try Connection(to: address.port, from: 0x7F00_0002) }
            for connection in floods { connection.send(PeerProtocol.magic) }
            for connection in floods.prefix(3) { #expect(await connection.receive(1).isEmpty) }
            let write = Array(
                ByteBuffer(peerFrame: try PortCoding.encode(PortRequest.write(.setAddresses([]), clusterID: "c")))
                    .readableBytesView)
            for source in [0x7F00_0003, 0x7F00_0009, 0x7F00_0009, 0x7F00_0009] as [UInt32] {
                let connection = try Connection(to: address.port, from: source)
                connection.send(PeerProtocol.magic + write)
                guard case .written = try await frame(connection) else {
                    Issue.record("no seat for \(source)")
                    return
                }
            }
        }
    }

    @Test("who is no member sends short frames, a member long ones")
    func framesOfStrangers() async throws {
        try await withPort(ScriptedDelegate(members: ["127.0.0.9"])) { address, _ in
            let length = UInt32(PeerProtocol.strangersFrameLimit + 1)
            let header = withUnsafeBytes(of: length.bigEndian) { Array($0) }
            let stranger = try Connection(to: address.port)
            stranger.send(PeerProtocol.magic + header)
            #expect(String(decoding: await stranger.receive(4096), as: UTF8.self).contains("malformed"))
            let member = try Connection(to: address.port, from: 0x7F00_0009)
            let text = Array("{\"read\":{\"clusterID\":\"c\"}}".utf8)
            let padding = [UInt8](repeating: UInt8(ascii: " "), count: Int(length) - text.count)
            member.send(PeerProtocol.magic + header + text + padding)
            guard case .written = try await frame(member) else {
                Issue.record("a member's long frame is not read")
                return
            }
        }
    }

    @Test("a frame longer than the limit ends the connection before it is read")
    func longFrame() async throws {
        try await withPort(ScriptedDelegate()) { address, _ in
            let connection = try Connection(to: address.port)
            connection.send(PeerProtocol.magic + [0xFF, 0xFF, 0xFF, 0xFF])
            let answer = await connection.receive(4096)
            #expect(String(decoding: answer, as: UTF8.self).contains("malformed"))
        }
    }
}

func blockingValue<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        try? BlockingThread.start(named: "test") { continuation.resume(returning: body()) }
    }
}
