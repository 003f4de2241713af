import Glibc
import Platform
import Synchronization
import VIP

/// Something that should have happened in time did not.
struct DidNotHappen: Error, CustomStringConvertible {
    var description: String
}

/// Waits for the first event of a stream that is as wanted; the events before it are dropped.
///
/// - Throws: `DidNotHappen` after the limit, or when the stream ends; the stream is then unusable.
@discardableResult
func event(
    in events: AsyncStream<NetlinkEvent>, within limit: Duration = .seconds(5), _ what: String,
    where isWanted: @escaping @Sendable (NetlinkEvent) -> Bool
) async throws -> NetlinkEvent {
    try await withThrowingTaskGroup(of: NetlinkEvent.self) { group in
        group.addTask {
            for await event in events where isWanted(event) { return event }
            throw DidNotHappen(description: "the stream ended before: \(what)")
        }
        group.addTask {
            try await Task.sleep(for: limit)
            throw DidNotHappen(description: "not within \(limit): \(what)")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw DidNotHappen(description: what) }
        return first
    }
}

/// Waits until the kernel has removed an address.
func removal(of address: VirtualAddress, seenBy monitor: NetlinkMonitor) async throws {
    try await event(in: monitor.events, "the removal of \(address)") { event in
        if case .addressRemoved(let gone) = event { gone.matches(address) } else { false }
    }
}

/// Blocks the calling thread, for code that runs on a namespace's thread.
func pause(_ duration: Duration) {
    usleep(UInt32(clamping: duration.inNanoseconds / 1000))
}

/// Tells a thread to end.
final class Flag: Sendable {
    private let value = Atomic(false)

    var isRaised: Bool { value.load(ordering: .acquiring) }
    func raise() { value.store(true, ordering: .releasing) }
}
