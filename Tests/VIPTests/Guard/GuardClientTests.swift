import CLinux
import Glibc
import Platform
import Synchronization
import Testing

@testable import VIP

@Suite("guard: the daemon's end of the channel")
struct GuardClientTests {
    private let vip = "192.0.2.10/24"
    /// A client whose process survives the loss of the guard, and the guard's end.
    private func makeClient(
        onGuardLost: @escaping @Sendable () -> Void = {}
    ) throws -> (client: GuardClient, guardEnd: Int32) {
        let (guardEnd, daemonEnd) = try GuardSpawn.openChannel()
        let client = try GuardClient(channel: daemonEnd, page: try LeasePage()) {
            onGuardLost()
            return .stay
        }
        return (client, guardEnd)
    }

    private func receive(_ descriptor: Int32) -> GuardRecord? {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return count > 0 ? bytes[..<count].withUnsafeBytes { GuardRecord(decoding: $0) } : nil
    }

    @Test("what the daemon says arrives as one record each, in order")
    func records() throws {
        let (client, end) = try makeClient()
        defer { close(end) }
        let address = try VirtualAddress(parsing: vip)
        let guarded = GuardedAddress(address, interfaceIndex: 3)
        let slot = try #require(LeaseSlot(7))
        try client.hold(address, interface: 3, slot: slot)
        try client.release(address, interface: 3)
        try client.reportReady()
        #expect(receive(end) == .hold(guarded, slot: slot))
        #expect(receive(end) == .release(guarded))
        #expect(receive(end) == .ready)
        #expect(receive(end) == nil)
    }

    @Test("a burst of as many addresses as the guard can watch fits into the channel; one more is refused by name")
    func burst() throws {
        let (client, end) = try makeClient()
        defer { close(end) }
        for number in 0..<GuardCore.capacity {
            let address = try VirtualAddress(parsing: "10.1.\(number / 250).\(number % 250 + 1)/32")
            try client.hold(address, interface: 2, slot: .lead)
        }
        let error = #expect(throws: SystemError.self) {
            try client.hold(try VirtualAddress(parsing: vip), interface: 2, slot: .lead)
        }
        #expect(error?.errno == ENOSPC && error?.description.contains("at most 1024 addresses") == true)
        var count = 0
        while receive(end) != nil { count += 1 }
        #expect(count == GuardCore.capacity)
    }

    @Test("a guard that does not read is an error, and the call does not wait")
    func deafGuard() throws {
        let (client, end) = try makeClient()
        defer { close(end) }
        let address = try VirtualAddress(parsing: vip)
        var failure: SystemError?
        for _ in 0..<100_000 where failure == nil {
            do { try client.hold(address, interface: 2, slot: .lead) } catch { failure = error }
        }
        #expect(failure?.errno == EAGAIN)
        #expect(client.isPresent)
    }

    @Test("the guard is woken when a lease ends sooner than was said, and not when it is extended")
    func look() throws {
        let (client, end) = try makeClient()
        defer { close(end) }
        let cell = client.lease(.lead)
        #expect(client.lease(.lead) === cell, "there is one cell for each slot")
        cell.extend(term: 1, until: BootClock.now.advanced(by: .seconds(1)))
        cell.extend(term: 1, until: BootClock.now.advanced(by: .milliseconds(1500)))
        #expect(receive(end) == nil)
        cell.extend(term: 1, until: BootClock.now.advanced(by: .seconds(1)))
        #expect(receive(end) == .look)
        cell.revoke()
        #expect(receive(end) == .look)
        cell.revoke()
        #expect(receive(end) == nil)
    }

    @Test("each stop record is one element of the stop requests")
    func stop() async throws {
        let (client, end) = try makeClient()
        defer { close(end) }
        var bytes = [UInt8](repeating: 0, count: GuardRecord.size)
        bytes.withUnsafeMutableBytes { GuardRecord.stop.encode(into: $0) }
        #expect(send(end, bytes, bytes.count, 0) == bytes.count)
        // A record that a guard of another version may send, and that means nothing to this daemon.
        bytes[1] = 77
        #expect(send(end, bytes, bytes.count, 0) == bytes.count)
        var iterator = client.stopRequests.makeAsyncIterator()
        #expect(await iterator.next() != nil)
        #expect(client.isPresent)
    }

    @Test("when the guard is gone, what is held is deleted, and nothing can be held any more")
    func guardLost() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { namespace async throws in
            let address = try VirtualAddress(parsing: vip)
            let (lost, report) = AsyncStream.makeStream(of: BootInstant.self)
            let (client, end, index) = try await namespace.session { session, index in
                let (client, end) = try makeClient { report.yield(BootClock.now) }
                try client.hold(address, interface: index, slot: .lead)
                try session.set(address, interface: index, validLifetime: 60)
                return (client, end, index)
            }
            let begin = BootClock.now
            close(end)
            var iterator = lost.makeAsyncIterator()
            let end1 = try #require(await iterator.next())
            #expect(begin.duration(to: end1) < .milliseconds(100))
            #expect(try await namespace.session { try $0.v4($1) } == ["192.0.2.1/24"])
            #expect(!client.isPresent)
            let error = #expect(throws: SystemError.self) { try client.hold(address, interface: index, slot: .lead) }
            #expect(error?.errno == EPIPE)
        }
    }

    @Test("an environment without the variable is that of a process without a guard; a wrong one is named")
    func environment() throws {
        #expect(try GuardClient(environment: ["PATH": "/bin"], onGuardLost: {}) == nil)
        for wrong in ["999", "x", "-1"] {
            let error = #expect(throws: SystemError.self) {
                _ = try GuardClient(environment: [GuardEnvironment.channel: wrong], onGuardLost: {})
            }
            #expect(error?.description.contains("DQLITE_VIP_GUARD_FD=\(wrong)") == true)
        }
        // A channel, but memory of another kind.
        let (guardEnd, daemonEnd) = try GuardSpawn.openChannel()
        defer { for end in [guardEnd, daemonEnd] { close(end) } }
        for wrong in ["999", "x", "\(guardEnd)"] {
            let error = #expect(throws: SystemError.self) {
                _ = try GuardClient(
                    environment: [GuardEnvironment.channel: "\(daemonEnd)", GuardEnvironment.leases: wrong],
                    onGuardLost: {})
            }
            #expect(error?.description.contains("DQLITE_VIP_LEASES_FD=\(wrong)") == true)
        }
        #expect(GuardEnvironment.inheritedDescriptors([GuardEnvironment.inherited: "4,5"]) == [4, 5])
        #expect(GuardEnvironment.inheritedDescriptors([:]) == [])
    }
}
