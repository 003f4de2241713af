import Platform
import Synchronization

@testable import Discovery

/// A store in memory, for what a real one cannot be made to do at will: to do what it was asked and lose the answer, to
/// count requests, to hang whatever happens to the caller.
final class FakeStore: KeyValueStore {
    /// Before a request is done, and after: may throw, or wait.
    typealias Hook = @Sendable (KeeperCore.Request) async throws -> Void

    private struct State {
        var model = ModelStore()
        var requests: [String] = []
        var running = 0
        var mostAtOnce = 0
        var before: Hook = { _ in }
        var after: Hook = { _ in }
    }

    private let state = Mutex(State())

    var place: String { "a fake" }
    var deleteLeaderCommand: String { "fakectl del leader" }
    func fullName(_ key: String) -> String { "/fake/\(key)" }

    /// What was asked, in short words.
    var requests: [String] { state.withLock { $0.requests } }
    func count(of request: String) -> Int { requests.count { $0.hasPrefix(request) } }
    /// The most requests but reads that were under way at one time.
    var mostAtOnce: Int { state.withLock { $0.mostAtOnce } }

    func before(_ hook: @escaping Hook) { state.withLock { $0.before = hook } }
    func after(_ hook: @escaping Hook) { state.withLock { $0.after = hook } }

    private func perform(_ request: KeeperCore.Request) async throws -> KeeperCore.Answer {
        let isRead = request == .read
        let before = state.withLock { state in
            state.requests.append(KeeperHarness.text(request))
            if !isRead { state.running += 1 }
            state.mostAtOnce = max(state.mostAtOnce, state.running)
            return state.before
        }
        defer { state.withLock { $0.running -= isRead ? 0 : 1 } }
        try await before(request)
        let (answer, after) = state.withLock { ($0.model.perform(request, at: BootClock.now), $0.after) }
        try await after(request)
        return answer
    }

    private func accepted(_ request: KeeperCore.Request) async throws -> Bool {
        try await perform(request) == .accepted(true)
    }

    func read() async throws -> StoreSnapshot {
        guard case .read(let snapshot) = try await perform(.read) else { return StoreSnapshot() }
        return snapshot
    }

    func openHold() async throws -> StoreHold {
        guard case .opened(let hold) = try await perform(.openHold) else { throw DiscoveryError.away }
        return hold
    }

    func renew(_ hold: StoreHold) async throws -> Bool { try await accepted(.renew(hold)) }
    func release(_ hold: StoreHold) async throws { _ = try await perform(.release(hold)) }

    func putNode(_ id: String, _ record: [UInt8], under hold: StoreHold) async throws -> Bool {
        try await accepted(.putNode(id: id, record: record, hold: hold))
    }

    func putLeader(_ record: [UInt8], replacing version: UInt64?, under hold: StoreHold) async throws -> Bool {
        try await accepted(.putLeader(record: record, replacing: version, hold: hold))
    }
}
