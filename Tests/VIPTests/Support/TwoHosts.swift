import Logging
import Platform
import Testing

@testable import VIP

/// Two hosts on one cable. `ours` runs the ownership on `v0`; `other` is the rest of the LAN, on `v1`.
struct TwoHosts: Sendable {
    var ours: NetworkNamespace
    var other: NetworkNamespace
    var ownership: Ownership
    var surroundings: OwnershipTests.Surroundings
    /// Sees the first of the addresses on both: ours is place 0.
    var witness: AddressWitness
    var addresses: [VirtualAddress]
    /// The first of them.
    var vip: VirtualAddress
    /// The MAC of the other host.
    var stranger: HardwareAddress

    /// Sets the VIP on the other host, as a holder whose daemon and guard do no more.
    func otherHolds(for seconds: UInt32 = 60) async throws {
        try await other.run { [vip] in
            let session = try NetlinkSession()
            guard let link = try session.link(named: "v1") else { throw DidNotHappen(description: "no v1") }
            try session.set(vip, interface: link.index, validLifetime: seconds)
        }
        guard vip.address.family == .v6 else { return }
        // The kernel answers for it when a worker has joined its group, which may be milliseconds later.
        let group = IPv6Group(soliciting: vip.address).address.description
        try await wait("the group of \(vip)") {
            try await other.command("ip", "maddr", "show", "dev", "v1").contains(group)
        }
    }

    func otherLetsGo() async throws {
        try await other.run { [vip] in
            let session = try NetlinkSession()
            guard let link = try session.link(named: "v1") else { throw DidNotHappen(description: "no v1") }
            try session.delete(vip, interface: link.index)
        }
    }

    /// Has the other host announce the VIP, whether it has it or not.
    func otherAnnounces() async throws {
        try await other.run { [vip] in
            let session = try NetlinkSession()
            guard let link = try session.link(named: "v1") else { throw DidNotHappen(description: "no v1") }
            _ = try AddressAnnouncer().announce(vip, on: link)
        }
    }

    /// Gives the ownership its lease; returns the time before that.
    @discardableResult
    func lead() -> BootInstant {
        let now = BootClock.now
        surroundings.leadOn()
        ownership.kick()
        return now
    }

    /// Takes the lease away; returns the time before that.
    @discardableResult
    func lose() -> BootInstant {
        let now = BootClock.now
        surroundings.follow()
        ownership.kick()
        return now
    }

    /// The first of the virtual addresses as the kernel has it on `v0`; nil when it is not there.
    func carried(_ address: VirtualAddress? = nil) async throws -> InterfaceAddress? {
        let address = address ?? vip
        return try await ours.session { session, index in
            try session.addresses(interface: index).first { $0.matches(address) }
        }
    }
}

/// Runs `body` with two hosts, which are 192.0.2.1/24 and 192.0.2.2/24, and a running ownership.
func withTwoHosts(
    _ texts: String..., hint: @escaping @autoclosure @Sendable () -> LeadHint = LeadHint(),
    schedule: AnnounceSchedule = AnnounceSchedule(),
    neighbours: NeighbourSchedule? = nil, body: (TwoHosts) async throws -> Void
) async throws {
    let addresses = try texts.map { try VirtualAddress(parsing: $0) }
    let vip = try #require(addresses.first)
    try await withVirtualEthernet(addresses: "192.0.2.1/24") { ours async throws in
        try await withNetworkNamespace { other async throws in
            try await ours.command("ip", "link", "set", "v1", "netns", try await other.threadIdentifier())
            try await other.script(
                """
                ip link set v1 address 02:00:5e:00:00:09
                ip link set v1 up
                ip address add 192.0.2.2/24 dev v1
                """)
            let witness = try await AddressWitness(of: vip, in: [ours, other])
            let surroundings = try OwnershipTests.Surroundings()
            let ownership = try await ours.run {
                try Ownership(
                    interface: "v0", cell: surroundings.cell, lease: { surroundings.lease },
                    guardChannel: surroundings, addressesFile: nil, schedule: schedule,
                    neighbours: neighbours, hint: hint,
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            }
            let running = Task { try await ownership.run() }
            await ownership.setDesired(addresses)
            // Carrier needs a moment after the far end was moved.
            try await carrier(of: ours)
            try await body(
                TwoHosts(
                    ours: ours, other: other, ownership: ownership, surroundings: surroundings, witness: witness,
                    addresses: addresses, vip: vip, stranger: try #require(HardwareAddress([2, 0, 0x5E, 0, 0, 9]))))
            running.cancel()
            try await running.value
        }
    }
}

/// Waits until frames can leave `v0`.
func carrier(of namespace: NetworkNamespace) async throws {
    try await namespace.run {
        let session = try NetlinkSession()
        let end = BootClock.now.advanced(by: .seconds(5))
        while try session.link(named: "v0")?.canSend != true {
            guard BootClock.now < end else { throw DidNotHappen(description: "v0 gets no carrier") }
            pause(.milliseconds(1))
        }
    }
}

/// Waits until something is so.
func wait(
    _ what: String, within limit: Duration = .seconds(10), _ isSo: () async throws -> Bool
) async throws {
    let end = BootClock.now.advanced(by: limit)
    while try await !isSo() {
        guard BootClock.now < end else { throw DidNotHappen(description: what) }
        try await Task.sleep(for: .milliseconds(2))
    }
}
