import Glibc
import Platform
import Synchronization

/// Strangers that all do the same over and over, each on a thread of its own, until they are told to end.
///
/// They run at the lowest priority: what they cost the nodes is to come by the wire, and not from the processors that the
/// laboratory shares with them.
public final class Crowd: Sendable {
    /// What came of it.
    public struct Tally: Sendable, CustomStringConvertible {
        /// How often one of them did what it does to the end.
        public var rounds = 0
        /// How often it was refused, cut off or let wait too long.
        public var failures = 0
        public var lastFailure: String?

        public var description: String {
            "\(rounds) rounds, \(failures) cut short" + (lastFailure.map { ", the last one: \($0)" } ?? "")
        }
    }

    /// One of them in one of its rounds.
    public struct Member: Sendable {
        /// 0, 1, ...
        public let number: Int
        fileprivate let state: State

        /// They have been told to end: return soon.
        public var isOver: Bool { state.isOver.load(ordering: .relaxed) }

        /// Waits for so long, or until it is over.
        public func pause(_ time: Duration) {
            let end = BootClock.now.advanced(by: time)
            while !isOver, BootClock.now < end { poll(nil, 0, 5) }
        }
    }

    fileprivate final class State: Sendable {
        let isOver = Atomic<Bool>(false)
        let tally = Mutex(Tally())
    }

    private let state = State()
    private let threads: Mutex<[OwnThread]>

    /// Sends them off.
    ///
    /// `round`: what each does, again and again. When it throws, its next round begins 20 ms later.
    public init(of count: Int, _ round: @escaping @Sendable (Member) throws -> Void) throws {
        threads = Mutex([])
        let state = state
        for number in 0..<count {
            let thread = try OwnThread("lab-stranger", nice: 19) {
                let member = Member(number: number, state: state)
                while !member.isOver {
                    do {
                        try round(member)
                        state.tally.withLock { $0.rounds += 1 }
                    } catch {
                        state.tally.withLock {
                            $0.failures += 1
                            $0.lastFailure = "\(error)"
                        }
                        member.pause(.milliseconds(20))
                    }
                }
            }
            threads.withLock { $0.append(thread) }
        }
    }

    public var tally: Tally { state.tally.withLock { $0 } }

    /// Calls them off, and waits until the last one has gone.
    @discardableResult
    public func end() async throws -> Tally {
        state.isOver.store(true, ordering: .relaxed)
        let left = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        try await offloading { for thread in left { thread.join() } }
        return tally
    }

    deinit {
        state.isOver.store(true, ordering: .relaxed)
        for thread in threads.withLock({ $0 }) { thread.detach() }
    }
}
