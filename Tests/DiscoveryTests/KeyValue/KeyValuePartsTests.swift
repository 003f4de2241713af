import Platform
import Testing

@testable import Discovery

@Suite("key-value discovery: small parts")
struct KeyValuePartsTests {
    @Test("pauses double up to the bound, take off at most half, start over, and never overflow")
    func backoff() {
        var backoff = Backoff(.seconds(1) ... .seconds(10), seed: 7)
        for _ in 0..<2 {
            for bound in [1.0, 2, 4, 8] + Array(repeating: 10, count: 100) {
                let pause = backoff.next()
                #expect(pause >= .seconds(bound / 2) && pause <= .seconds(bound))
            }
            backoff.reset()
        }
    }

    @Test("a record keeps its fields and bears rqlite's names; the same record gives the same bytes")
    func records() throws {
        let announcement = DiscoveryAnnouncement.example(cluster: "A", leads: 3)
        let text = String(decoding: RecordCoding.encode(announcement.node), as: UTF8.self)
        #expect(
            text == #"{"addr":"192.0.2.1:8800","api_addr":"192.0.2.1:9900","cluster_id":"A","cluster_name":"test","#
                + #""id":"n1","name":"one"}"#)
        let leader = try #require(announcement.leader)
        #expect(RecordCoding.leader(RecordCoding.encode(leader)) == leader)
        let rqlite = #"{"id":"1","api_addr":"http://localhost:4001","addr":"localhost:4002"}"#
        #expect(RecordCoding.address(Array(rqlite.utf8))?.description == "localhost:4002")
    }

    @Test("rqlite's own record, whose API address may be a URL, is a leader without a cluster")
    func rqliteLeader() {
        for api in [#""http://localhost:4001""#, #""localhost:4001""#, #""""#, "7", "null"] {
            let record = RecordCoding.leader(Array(#"{"id":"1","api_addr":\#(api),"addr":"localhost:4002"}"#.utf8))
            #expect(record?.nodeID == "1" && record?.clusterID == nil && record?.address.port == 4002)
        }
    }

    @Test("candidates: the leader first, nodes by id, each once, those of other clusters, too")
    func candidates() {
        var snapshot = StoreSnapshot()
        for (id, port) in [("b", 2), ("a", 3), ("c", 1)] {
            snapshot.nodes[id] = RecordCoding.encode(DiscoveryAnnouncement.example(id, port: UInt16(port)).node)
        }
        snapshot.leader = .example("c", of: "B", under: nil, port: 1)
        let candidates = StoreCandidates(snapshot) { "/k/\($0)" }
        #expect(candidates.addresses.map(\.port) == [1, 3, 2])
        #expect(candidates.fault == nil)
    }

    @Test("records that are none are passed over and named, and so is what is beyond the limit")
    func unreadable() {
        var snapshot = StoreSnapshot()
        for index in 0..<300 {
            snapshot.nodes["n\(index)"] = RecordCoding.encode(
                DiscoveryAnnouncement.example(port: UInt16(1 + index)).node)
        }
        for id in ["w", "x", "y", "z"] { snapshot.nodes[id] = Array("{\"addr\":\"no port\"}".utf8) }
        snapshot.leader = StoreSnapshot.Leader(record: [], version: 1, holdID: nil)
        let candidates = StoreCandidates(snapshot) { "/k/\($0)" }
        #expect(candidates.addresses.count == StoreCandidates.limit)
        #expect(candidates.fault?.contains("/k/leader, /k/nodes/w, /k/nodes/x and 2 more") == true)
        #expect(candidates.fault?.contains("44 addresses are passed over") == true)
    }

    @Test("a store that is away is told once for both who ask it, and its return once; a refusal of one is its own")
    func troubles() {
        var troubles = StoreTroubles()
        var told = [
            troubles.failed(.lookUp, .away), troubles.failed(.registration, .away), troubles.failed(.lookUp, .away),
            troubles.succeeded(.lookUp), troubles.failed(.registration, .away), troubles.succeeded(.registration),
            troubles.succeeded(.registration),
        ]
        #expect(told == [true, false, false, false, false, true, false])
        told = [troubles.failed(.registration, .denied)]
        for _ in 0..<3 { told += [troubles.succeeded(.lookUp), troubles.failed(.registration, .denied)] }
        told.append(troubles.failed(.lookUp, .denied))
        #expect(told == [true, false, false, false, false, false, false, true])
    }

    @Test("a call before the sleep is not lost, one during it ends it, and so do the time and a cancellation")
    func wakeUp() async {
        let wakeUp = WakeUp()
        wakeUp.call()
        await wakeUp.sleep(until: nil)
        await wakeUp.sleep(until: BootClock.now + .milliseconds(5))
        for early in [true, false] {
            let sleep = Task { await wakeUp.sleep(until: nil) }
            if early { await Task.yield() }
            wakeUp.call()
            await sleep.value
            let cancelled = Task { await wakeUp.sleep(until: BootClock.now + .seconds(3600)) }
            if early { await Task.yield() }
            cancelled.cancel()
            await cancelled.value
        }
        await wakeUp.sleep(until: BootClock.now)
    }

    @Test("all who ask while a call runs get its result; who is cancelled goes at once; the next call is a new one")
    func sharedCall() async throws {
        let gate = WakeUp()
        let count = Counter()
        let call = SharedCall {
            let number = count.next()
            await gate.sleep(until: nil)
            return number
        }
        let first = (0..<3).map { _ in Task { try await call.value() } }
        let cancelled = Task { try await call.value() }
        while call.waiterCount < 4 { await Task.yield() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        gate.call()
        for task in first { #expect(try await task.value == 1) }
        gate.call()
        #expect(try await call.value() == 2)
    }
}
