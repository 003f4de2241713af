import Platform
import Synchronization

@testable import VIP

/// Keeps what the kernel reports in a namespace, each with the time at which it was heard.
final class NetlinkLog: Sendable {
    private struct State {
        var entries: [(time: BootInstant, event: NetlinkEvent)] = []
        var waiters: [@Sendable (BootInstant, NetlinkEvent) -> Bool] = []
    }

    private let state = Mutex(State())
    private let monitor: NetlinkMonitor

    /// Make it on the namespace's thread.
    init() throws {
        let monitor = try NetlinkMonitor()
        self.monitor = monitor
        Task.detached { [weak self] in
            for await event in monitor.events { self?.add(event) }
        }
    }

    deinit { monitor.stop() }

    private func add(_ event: NetlinkEvent) {
        let now = BootClock.now
        state.withLock { state in
            state.entries.append((now, event))
            state.waiters.removeAll { $0(now, event) }
        }
    }

    /// When the address was first removed, or set, after `start`.
    ///
    /// - Throws: `DidNotHappen` after the limit.
    @discardableResult
    func time(
        of address: VirtualAddress, removed: Bool, after start: BootInstant, within limit: Duration = .seconds(5)
    ) async throws -> BootInstant {
        let isWanted: @Sendable (BootInstant, NetlinkEvent) -> Bool = { time, event in
            guard time >= start else { return false }
            return switch event {
            case .addressRemoved(let found): removed && found.matches(address)
            case .addressAdded(let found): !removed && found.matches(address)
            case .linkChanged, .linkRemoved, .overrun: false
            }
        }
        let (times, found) = AsyncStream.makeStream(of: BootInstant.self)
        state.withLock { state in
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
}
