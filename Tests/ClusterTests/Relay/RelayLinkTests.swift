import Dqlite
import Glibc
import Lease
import Logging
import NIOCore
import NIOPosix
import Platform
import Testing

@testable import Cluster

/// The relay of one node with its cluster port; what writes and reads in libdqlite's place is the test.
private final class Side: Sendable {
    static let hold: Duration = .milliseconds(150)

    let id: DqliteNodeID
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let listener: AbstractListener
    let facts: RelayFacts
    let relay: NIOLoopBound<RaftRelay>
    let dialer: RaftDialer
    let port: ClusterPort
    let address: HostPort
    /// Where the relay finds members, which raft's configuration has at the ports 1 to 3.
    let book = AddressBook()

    private struct Delegate: ClusterPortDelegate {
        var admission: RaftAdmission
        func answer(_ request: PortRequest, from peer: PortPeer) async -> PortReply { .written }
        func isMember(_ address: IPAddress) -> Bool { false }
        func admitRaft(_ handshake: RaftHandshake, from peer: PortPeer) throws(PortFailure) -> RaftAdmission {
            admission
        }
        var clientSocket: DqliteAddress? { nil }
    }

    /// A member of a cluster of the nodes 1 to 3.
    init(_ id: DqliteNodeID) async throws {
        self.id = id
        let loop = group.next()
        let logger = Logger(label: "test")
        let listener = try AbstractListener()
        self.listener = listener
        let facts = RelayFacts(own: id, hold: Self.hold)
        self.facts = facts
        let members = (1...3).map { DqliteMember(id: $0, address: "127.0.0.1:\($0)", role: .voter) }
        let relay = try await loop.submit {
            NIOLoopBound(
                RaftRelay(
                    own: id, metadata: RaftMetadata(term: 1, votedFor: 0), closedUntil: nil, loop: loop,
                    settings: .init(
                        hold: Self.hold, patience: .milliseconds(100), retreat: .milliseconds(300),
                        succession: .init(silence: .milliseconds(120))),
                    facts: facts, observer: RaftObserver(), members: { members }, logger: logger, onLead: {},
                    onLease: {}, onTransfer: { _ in }, onReturn: {}),
                eventLoop: loop)
        }.get()
        self.relay = relay
        let entrance = RaftEntrance(
            dqliteID: id, incarnation: id * 10, relay: relay, socket: .abstractSocket(listener.name), loop: loop)
        port = ClusterPort(group: group, delegate: Delegate(admission: entrance.admission), logger: logger)
        let address = try await port.listen(on: HostPort(host: "127.0.0.1", port: 0))
        self.address = address
        dialer = RaftDialer(
            relay: relay, loop: loop, group: group, timeout: .seconds(2),
            places: { [book] member in members.first { $0.id == member }.map(book.places) ?? [] },
            handshake: { member in
                RaftHandshake(
                    clusterName: "test", clusterID: "c", dqliteID: id, address: address.description, target: member,
                    timing: TimingClaim(.lan, of: address), incarnation: id * 10, relay: RaftRelay.version)
            })
    }

    /// As libdqlite does: dials, and says who it is.
    func open(to other: Side) async throws -> Stream {
        book.learn(other.id, at: other.address)
        return try await dial("127.0.0.1:\(other.id)")
    }

    func dial(_ address: String) async throws -> Stream {
        let near = try await BlockingThread.run(named: "test") { [dialer] in try dialer.dial(address).get() }
        let stream = Stream(near)
        stream.write(try RaftPreface.encode(id: id, address: self.address.description))
        return stream
    }

    /// What the local nodes of peers read: the address that the configuration has.
    var preface: [UInt8] { get throws { try RaftPreface.encode(id: id, address: "127.0.0.1:\(id)") } }

    /// What a peer has opened to the local node, its preface read.
    func accept(from other: Side) async throws -> Stream { try await accept(other.preface) }

    func accept(_ preface: [UInt8]) async throws -> Stream {
        let listener = listener
        let stream = Stream(await blockingValue { listener.accept() })
        #expect(await stream.read(preface.count) == preface)
        return stream
    }

    func end() async throws {
        await port.close()
        try await group.next().submit { [relay] in relay.value.close() }.get()
        try await group.shutdownGracefully()
    }
}

/// One end of a stream.
private final class Stream: Sendable {
    private let descriptor: Int32

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    func write(_ bytes: [UInt8]) { _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    func read(_ count: Int) async -> [UInt8] {
        let descriptor = descriptor
        return await blockingValue { receiveBytes(descriptor, count) }
    }

    /// For threads that may block.
    func readNow(_ count: Int) -> [UInt8] { receiveBytes(descriptor, count) }

    deinit { close(descriptor) }
}

private func words(_ words: UInt64...) -> [UInt8] {
    words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
}

private func heartbeat(_ term: UInt64) -> [UInt8] { words(1, 48, term, 12, term, 12, 0, 0) }
private func requestVote(_ term: UInt64, _ candidate: UInt64) -> [UInt8] { words(3, 40, term, candidate, 12, 5, 1) }

@Suite("Raft between two nodes")
struct RelayLinkTests {
    private static func withSides(_ body: (Side, Side) async throws -> Void) async throws {
        let (one, two) = (try await Side(1), try await Side(2))
        do {
            try await body(one, two)
        } catch {
            try await one.end()
            try await two.end()
            throw error
        }
        try await one.end()
        try await two.end()
    }

    private static func eventually(_ what: String, _ condition: () async -> Bool) async throws {
        let start = BootClock.now
        while await !condition() {
            try #require(start.duration(to: BootClock.now) < .seconds(20), "\(what)")
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    private static func learn(_ side: Side, by reading: RelayCore.Reading) async throws {
        try await side.group.next().submit { [relay = side.relay] in relay.value.learnt(voters: [1, 2, 3], by: reading)
        }
        .get()
    }

    /// Makes a node the leader of term 5, with a lease, by two heartbeats.
    private static func lead(_ side: Side, _ stream: Stream) async throws {
        stream.write(heartbeat(5))
        try await eventually("the lead") { side.facts.current.lease.term == 5 }
        try await learn(side, by: side.facts.beginReading())
        stream.write(heartbeat(5))
        try await eventually("a lease") { side.facts.lease(now: BootClock.now) != nil }
    }

    @Test("flows whole and untouched, however it is cut, and what a majority acknowledged is a lease")
    func lease() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let far = try await two.accept(from: one)
            let frames = heartbeat(5) + heartbeat(5)
            near.write(Array(frames[..<70]))
            near.write(Array(frames[70...]))
            #expect(await far.read(frames.count) == frames)
            #expect(one.facts.lease(now: BootClock.now) == nil, "whose vote counts is not known yet")
            try await Self.learn(one, by: one.facts.beginReading())
            let before = BootClock.now
            near.write(heartbeat(5))
            try await Self.eventually("a lease") { one.facts.lease(now: before).map { $0.end > before } ?? false }
            let lease = try #require(one.facts.lease(now: before))
            #expect(lease.term == 5 && lease.end <= BootClock.now.advanced(by: Side.hold - .milliseconds(4)))
            // Its own vote in a higher term ends it, whatever is acknowledged.
            near.write(words(4, 24, 6, 1, 0))
            try await Self.eventually("surrender") { one.facts.lease(now: before) == nil }
        }
    }

    @Test(
        "the newest reading of the members counts, and none that began before a frame named others or in another term")
    func readings() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let early = one.facts.beginReading()
            near.write(heartbeat(5))
            try await Self.eventually("the lead") { one.facts.current.lease.term == 5 }
            try await Self.learn(one, by: early)
            #expect(one.facts.current.lease.voters.isEmpty, "it may be of an earlier term")
            let (first, second) = (one.facts.beginReading(), one.facts.beginReading())
            try await Self.learn(one, by: second)
            #expect(one.facts.current.lease.voters == [1, 2, 3])
            // An entry that makes the node 2 the only other voter: id, address with its zero byte, role.
            let members: [UInt8] = [1] + words(2) + words(1) + [0, 1] + words(2) + [0, 1] + [0, 0, 0]
            let third = one.facts.beginReading()
            near.write(words(1, 64, 5, 12, 5, 12, 1, 5, 3 | UInt64(members.count) << 32, 0) + members)
            try await Self.eventually("the voters of the frame") { one.facts.current.lease.voters == [1, 2] }
            for stale in [first, third] {
                try await Self.learn(one, by: stale)
                #expect(one.facts.current.lease.voters == [1, 2])
            }
            try await Self.learn(one, by: one.facts.beginReading())
            #expect(one.facts.current.lease.voters == [1, 2, 3])
        }
    }

    @Test("a promise is acknowledged with the node's answer, and at once when none has come until the next heartbeat")
    func acknowledgedWithAnswer() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let far = try await two.accept(from: one)
            let back = try await two.open(to: one)
            let answers = try await one.accept(from: two)
            near.write(heartbeat(5))
            try await Self.eventually("the lead") { one.facts.current.lease.term == 5 }
            #expect(await far.read(heartbeat(5).count) == heartbeat(5))
            try await Self.learn(one, by: one.facts.beginReading())
            // Had it been acknowledged by itself, that would have come before this question is answered.
            try await two.group.next().submit {}.get()
            try await one.group.next().submit {}.get()
            #expect(one.facts.lease(now: BootClock.now) == nil)
            back.write(words(2, 24, 5, 0, 12))
            #expect(await answers.read(40) == words(2, 24, 5, 0, 12))
            try await Self.eventually("a lease by the answer") { one.facts.lease(now: BootClock.now) != nil }
            try await Self.eventually("its end") { one.facts.lease(now: BootClock.now) == nil }
            near.write(heartbeat(5) + heartbeat(5))
            try await Self.eventually("a lease without an answer") { one.facts.lease(now: BootClock.now) != nil }
        }
    }

    @Test("a heartbeat passes both relays without waiting for anything, and so does each of many in a row")
    func wayOfHeartbeat() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let far = try await two.accept(from: one)
            let times = await blockingValue {
                (0..<500).map { _ in
                    let start = BootClock.now
                    near.write(heartbeat(5))
                    _ = far.readNow(heartbeat(5).count)
                    return start.duration(to: BootClock.now)
                }.sorted()
            }
            let (median, late) = (times[times.count / 2], times[times.count * 99 / 100])
            print("a heartbeat's way through two relays: median \(median), 99th of 100 \(late)")
            // Nagle's algorithm and delayed acknowledgements would make it 40 ms.
            #expect(median < .milliseconds(10))
        }
    }

    @Test("a vote against a leader that was acknowledged is kept back, and a pre-vote is not")
    func gate() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let far = try await two.accept(from: one)
            defer { withExtendedLifetime(far) {} }
            let back = try await two.open(to: one)
            let arriving = try await one.accept(from: two)
            try await Self.lead(one, near)
            let lease = try #require(one.facts.lease(now: BootClock.now.advanced(by: .milliseconds(-100))))
            back.write(requestVote(6, 2))
            back.write(words(3, 40, 7, 2, 12, 5, 2))
            #expect(await arriving.read(56) == words(3, 40, 7, 2, 12, 5, 2), "the pre-vote overtakes")
            #expect(await arriving.read(56) == requestVote(6, 2))
            #expect(BootClock.now > lease.end)
        }
    }

    @Test("what cannot be read is passed on as it is, and there is no lease until the stream begins anew")
    func unreadable() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let far = try await two.accept(from: one)
            try await Self.lead(one, near)
            let strange = words(99, 16, 1, 2) + [1, 2, 3]
            near.write(strange)
            #expect(await far.read(128 + strange.count) == heartbeat(5) + heartbeat(5) + strange)
            try await Self.eventually("the lease to be off") { one.facts.current.unreadable == 1 }
            #expect(one.facts.lease(now: BootClock.now) == nil)
            let again = try await one.open(to: two)
            try await Self.eventually("a stream that can be read") { one.facts.current.unreadable == 0 }
            again.write(heartbeat(5))
        }
    }

    @Test(
        "a node whose own stream cannot be read promises nothing any more, and what it promised binds that stream too")
    func unreadableFollower() async throws {
        try await Self.withSides { one, two in
            let near = try await one.open(to: two)
            let far = try await two.accept(from: one)
            defer { withExtendedLifetime(far) {} }
            let back = try await two.open(to: one)
            let arriving = try await one.accept(from: two)
            try await Self.lead(one, near)
            let lease = try #require(one.facts.lease(now: BootClock.now.advanced(by: .milliseconds(-100))))
            let strange = words(99, 16, 1, 2)
            back.write(strange)
            try await Self.eventually("the stream to be given up") { two.facts.current.unreadable == 1 }
            near.write(heartbeat(5))
            #expect(await arriving.read(strange.count) == strange)
            #expect(BootClock.now > lease.end)
            #expect(one.facts.lease(now: BootClock.now) == nil, "what came in meanwhile was not acknowledged")
        }
    }

    @Test("a leader that this node's configuration does not know yet is answered where it connects from")
    func stranger() async throws {
        let (one, four) = (try await Side(1), try await Side(4))
        let near = try await four.open(to: one)
        let preface = try RaftPreface.encode(id: 4, address: four.address.description)
        let far = try await one.accept(preface)
        near.write(heartbeat(5))
        #expect(await far.read(heartbeat(5).count) == heartbeat(5))
        let back = try await one.dial(four.address.description)
        let arriving = try await four.accept(from: one)
        back.write(words(2, 24, 5, 0, 12))
        #expect(await arriving.read(40) == words(2, 24, 5, 0, 12))
        try await one.end()
        try await four.end()
    }

    @Test("a member is reached where it was met, and a node there that is another gets nothing")
    func moved() async throws {
        let (one, two, three) = (try await Side(1), try await Side(2), try await Side(3))
        // The member 2 was said to be where 3 is: a wrong hint, which must not make 3 count as 2.
        one.book.learn(2, at: three.address)
        let near = try await one.dial("127.0.0.1:2")
        try await Task.sleep(for: .milliseconds(100))
        let connected = try await one.group.next().submit { [relay = one.relay] in
            relay.value.unreachable(of: [DqliteMember(id: 2, address: "", role: .voter)])
        }.get()
        #expect(connected == [2], "the node 3 has answered, and it is not 2")
        one.book.learn(2, at: two.address)
        one.dialer.found(2)
        let far = try await two.accept(from: one)
        near.write(heartbeat(5))
        #expect(await far.read(64) == heartbeat(5))
        for side in [one, two, three] { try await side.end() }
    }

    @Test("when the leader's connection ends and its port refuses, the node is told to stand: its term, its position")
    func death() async throws {
        let (one, two) = (try await Side(1), try await Side(2))
        let near = try await one.open(to: two)
        let far = try await two.accept(from: one)
        near.write(heartbeat(5))
        #expect(await far.read(64) == heartbeat(5))
        try await one.end()
        #expect(await far.read(40) == words(6, 24, 5, 12, 5))
        // Its host is still there: its kernel says so.
        let account = try #require(two.facts.current.predecessors)
        #expect(account.answeredSince == nil && account.endedAt <= BootClock.now)
        let asked = BootClock.now
        let (told, tells) = AsyncStream.makeStream(of: Void.self)
        two.group.next().execute { [relay = two.relay] in relay.value.inquire { tells.finish() } }
        for await _ in told {}
        #expect(try #require(two.facts.current.predecessors?.answeredSince) >= asked)
        try await two.end()
    }
}
