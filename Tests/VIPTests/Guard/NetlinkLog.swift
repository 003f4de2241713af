import CLinux
import Glibc
import Platform
import Synchronization

@testable import VIP

/// Keeps what the kernel reports in a namespace, each with the time at which it was heard: by a thread of its own, which
/// comes before others on a busy machine.
final class NetlinkLog: Sendable {
    private struct State {
        var entries: [(time: BootInstant, event: NetlinkEvent)] = []
        var waiters: [@Sendable (BootInstant, NetlinkEvent) -> Bool] = []
    }

    private let state = Mutex(State())
    private let isOver = Flag()

    /// Make it on the namespace's thread.
    init() throws {
        // The time limit is how long the thread may outlive the log.
        let socket = try NetlinkSocket(
            groups: UInt32(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR), receiveBuffer: 8 << 20, timeout: .milliseconds(200)
        )
        try OwnThread("netlink-log", nice: -15) { [isOver, weak self] in
            var buffer = [UInt8](repeating: 0, count: NetlinkSocket.receiveCapacity)
            while !isOver.isRaised {
                guard let messages = try? socket.receive(into: &buffer) else { continue }
                let now = BootClock.now
                for message in messages {
                    switch message.content {
                    case .newAddress(let address): self?.add(.addressAdded(address), now)
                    case .deletedAddress(let address): self?.add(.addressRemoved(address), now)
                    default: break
                    }
                }
            }
        }.detach()
    }

    deinit { isOver.raise() }

    private func add(_ event: NetlinkEvent, _ now: BootInstant) {
        state.withLock { state in
            state.entries.append((now, event))
            state.waiters.removeAll { $0(now, event) }
        }
    }

    /// When the address was set, renewed or removed between two moments.
    func times(
        of address: VirtualAddress, removed: Bool, from start: BootInstant, to end: BootInstant
    ) -> [BootInstant] {
        state.withLock { state in
            state.entries.filter { entry in
                entry.time >= start && entry.time <= end && Self.tells(entry.event, of: address, removed: removed)
            }.map(\.time)
        }
    }

    /// When the address was first removed, or set, after `start`.
    ///
    /// - Throws: `DidNotHappen` after the limit.
    @discardableResult
    func time(
        of address: VirtualAddress, removed: Bool, after start: BootInstant, within limit: Duration = .seconds(5)
    ) async throws -> BootInstant {
        let (times, found) = AsyncStream.makeStream(of: BootInstant.self)
        state.withLock { state in
            let isWanted: @Sendable (BootInstant, NetlinkEvent) -> Bool = { time, event in
                time >= start && Self.tells(event, of: address, removed: removed)
            }
            if let entry = state.entries.first(where: { isWanted($0.time, $0.event) }) {
                found.yield(entry.time)
            } else {
                state.waiters.append { time, event in
                    guard isWanted(time, event) else { return false }
                    found.yield(time)
                    return true
                }
            }
        }
        let timeout = Task {
            try await Task.sleep(for: limit)
            found.finish()
        }
        defer { timeout.cancel() }
        for await time in times { return time }
        throw DidNotHappen(description: "\(address) was not \(removed ? "removed" : "set") within \(limit)")
    }

    private static func tells(_ event: NetlinkEvent, of address: VirtualAddress, removed: Bool) -> Bool {
        switch event {
        case .addressRemoved(let found): removed && found.matches(address)
        case .addressAdded(let found): !removed && found.matches(address)
        case .linkChanged, .linkRemoved, .overrun: false
        }
    }
}
