import Platform
import Testing

@testable import VIP

@Suite("NetlinkMonitor on the real kernel")
struct NetlinkMonitorTests {
    private let vip: VirtualAddress
    init() throws { vip = try VirtualAddress(parsing: "192.0.2.10/24") }

    private func withMonitor(
        _ body: (NetworkNamespace, NetlinkMonitor) async throws -> Void
    ) async throws {
        try await withVirtualEthernet { namespace in
            let monitor = try await namespace.run { try NetlinkMonitor() }
            defer { monitor.stop() }
            try await body(namespace, monitor)
        }
    }

    @Test("an address that is set, and one that somebody deletes, is reported with what the kernel knows of it")
    func addresses() async throws {
        try await withMonitor { [vip] namespace, monitor in
            let index = try await namespace.session { session, link in
                try session.set(vip, interface: link)
                return link
            }
            let added = try await event(in: monitor.events, "the address") { event in
                if case .addressAdded(let address) = event { address.matches(vip) } else { false }
            }
            guard case .addressAdded(let address) = added else { return }
            #expect(address.isTagged && address.interfaceIndex == index && address.preferredLifetime == 0)
            let before = BootClock.now
            try await namespace.command("ip", "address", "delete", "192.0.2.10/24", "dev", "v0")
            try await event(in: monitor.events, "the removal") { event in
                if case .addressRemoved(let gone) = event { gone.matches(vip) } else { false }
            }
            #expect(before.duration(to: BootClock.now) < .milliseconds(500))
        }
    }

    @Test("link down, link up, lost carrier, another MAC, another name and removal are reported")
    func links() async throws {
        try await withMonitor { namespace, monitor in
            @Sendable func changed(_ event: NetlinkEvent, _ isWanted: (LinkState) -> Bool) -> Bool {
                if case .linkChanged(let link) = event { isWanted(link) } else { false }
            }
            try await namespace.script("ip link set v0 down")
            try await event(in: monitor.events, "down") { changed($0) { $0.name == "v0" && !$0.isUp } }
            try await namespace.script("ip link set v0 up")
            try await event(in: monitor.events, "up") { changed($0) { $0.name == "v0" && $0.canSend } }
            try await namespace.script("ip link set v1 down")
            try await event(in: monitor.events, "carrier") {
                changed($0) { $0.name == "v0" && $0.isUp && !$0.hasCarrier }
            }
            try await namespace.script("ip link set v0 address 02:00:5e:10:20:30")
            try await event(in: monitor.events, "MAC") {
                changed($0) { $0.name == "v0" && $0.hardwareAddress == [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30] }
            }
            let index = try await namespace.session { $1 }
            try await namespace.script("ip link set v0 name w0")
            try await event(in: monitor.events, "name") { changed($0) { $0.name == "w0" && $0.index == index } }
            try await namespace.script("ip link delete w0")
            try await event(in: monitor.events, "removal") { $0 == .linkRemoved(index: index) }
        }
    }

    @Test("a port that leaves its bridge is not taken for a removed link")
    func bridge() async throws {
        try await withMonitor { namespace, monitor in
            let index = try await namespace.session { $1 }
            try await namespace.script(
                """
                ip link add b0 type bridge
                ip link set v0 master b0
                ip link set v0 nomaster
                ip link delete b0
                """)
            let first = try await event(in: monitor.events, "removal of the bridge") { event in
                if case .linkRemoved = event { true } else { false }
            }
            #expect(first != .linkRemoved(index: index))
        }
    }

    @Test("a consumer that falls behind learns that events were lost before it hears new ones")
    func overrun() async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: NetlinkEvent.self, bufferingPolicy: .bufferingOldest(2))
        var queue = NetlinkEventQueue(continuation)
        let events = (1...6).map { NetlinkEvent.linkRemoved(index: $0) }
        queue.deliver(Array(events[0...2]))
        #expect(queue.owesOverrun)
        queue.deliver([events[3]])
        var consumer = stream.makeAsyncIterator()
        #expect(await consumer.next() == events[0])
        #expect(await consumer.next() == events[1])
        queue.deliver([events[4]])
        #expect(!queue.owesOverrun)
        #expect(await consumer.next() == .overrun)
        #expect(await consumer.next() == events[4])
        queue.deliver([events[5]])
        #expect(await consumer.next() == events[5])
    }

    @Test("when the queue has room again, the loss is told without waiting for the next event")
    func overrunAlone() async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: NetlinkEvent.self, bufferingPolicy: .bufferingOldest(1))
        var queue = NetlinkEventQueue(continuation)
        queue.deliver([.linkRemoved(index: 1)])
        queue.lose()
        #expect(queue.owesOverrun)
        var consumer = stream.makeAsyncIterator()
        #expect(await consumer.next() == .linkRemoved(index: 1))
        queue.deliver([])
        #expect(await consumer.next() == .overrun)
        #expect(!queue.owesOverrun)
    }

    @Test("events that do not fit into the kernel's queue are reported as lost")
    func kernelOverrun() async throws {
        try await withVirtualEthernet { namespace in
            let socket = try await namespace.run { try NetlinkMonitor.subscribe(receiveBuffer: 1) }
            try await namespace.session { session, link throws in
                for number in 1...100 {
                    let address = try VirtualAddress(parsing: "10.0.0.\(number)/32")
                    try session.set(address, interface: link, validLifetime: 600)
                }
            }
            // Only now somebody reads.
            let monitor = try NetlinkMonitor(socket: socket)
            defer { monitor.stop() }
            try await event(in: monitor.events, "the overrun") { $0 == .overrun }
            try await namespace.command("ip", "address", "add", "198.51.100.1/24", "dev", "v0")
            try await event(in: monitor.events, "an event after it") { event in
                if case .addressAdded(let address) = event { "\(address.address)" == "198.51.100.1" } else { false }
            }
        }
    }

    @Test("stop ends the stream, and may be called twice")
    func stop() async throws {
        try await withMonitor { _, monitor in
            let end = Task { for await _ in monitor.events {} }
            monitor.stop()
            monitor.stop()
            await end.value
        }
    }

    @Test("a monitor that nobody keeps ends its stream")
    func release() async throws {
        try await withVirtualEthernet { namespace in
            let events = try await namespace.run { try NetlinkMonitor().events }
            for await _ in events {}
        }
    }
}
