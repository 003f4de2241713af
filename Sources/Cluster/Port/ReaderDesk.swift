import NIOCore
import Platform
import Synchronization

/// A client from outside that waits for its turn; both are called on the event loop of its connection.
protocol WaitingReader: AnyObject {
    /// Its request may go to the database; it says `ends` when that is answered.
    func hasTurn()
    /// It has waited too long: it is told to ask again.
    func isTurnedAway()
}

/// Hands out the turns of `ReaderTurns`, and counts what the node has answered and nobody has taken yet. From any thread.
final class ReaderDesk: Sendable {
    /// What all clients together may leave untaken, in bytes. libdqlite 1.11 aborts when it loses the lead while an answer in several
    /// messages is not yet taken, so the node is never made to wait: a client is cut instead.
    static let mostUntaken = 16 << 20

    typealias ID = ObjectIdentifier

    private struct State {
        var turns = ReaderTurns<ID>()
        var readers: [ID: NIOLoopBound<any WaitingReader>] = [:]
        var untaken = 0
        var alarm: (at: BootInstant, task: Scheduled<Void>)?
    }

    private let state = Mutex(State())
    private let loop: any EventLoop

    /// - Parameter loop: where it is looked again when only time has passed.
    init(loop: any EventLoop) {
        self.loop = loop
    }

    /// Has a request. One of its two methods is called, unless it leaves before.
    func asks(_ reader: NIOLoopBound<any WaitingReader>, _ id: ID) {
        state.withLock {
            $0.readers[id] = reader
            $0.turns.asks(id, now: BootClock.now)
        }
        goOn()
    }

    func ends(_ id: ID) {
        state.withLock {
            $0.turns.ends(id, now: BootClock.now)
            $0.readers[id] = nil
        }
        goOn()
    }

    func leaves(_ id: ID) {
        state.withLock {
            $0.turns.leaves(id, now: BootClock.now)
            $0.readers[id] = nil
        }
        goOn()
    }

    /// The node has answered so much; negative when a client has taken it.
    ///
    /// - Returns: whether that is not too much for all of them together.
    func note(untaken count: Int) -> Bool {
        state.withLock {
            $0.untaken += count
            return $0.untaken <= Self.mostUntaken
        }
    }

    private func goOn() {
        while true {
            let (step, reader) = state.withLock { state -> (ReaderTurns<ID>.Step, NIOLoopBound<any WaitingReader>?) in
                let step = state.turns.next(now: BootClock.now)
                switch step {
                case .go(let id): return (step, state.readers[id])
                case .turnAway(let id): return (step, state.readers.removeValue(forKey: id))
                case .wait, .nothing: return (step, nil)
                }
            }
            switch step {
            case .go: reader?.execute { $0.hasTurn() }
            case .turnAway: reader?.execute { $0.isTurnedAway() }
            case .wait(let time): return setAlarm(time)
            case .nothing: return
            }
        }
    }

    private func setAlarm(_ time: BootInstant) {
        state.withLock { state in
            if let alarm = state.alarm {
                guard time < alarm.at else { return }
                alarm.task.cancel()
            }
            let delay = TimeAmount.nanoseconds(max(0, BootClock.now.duration(to: time).inNanoseconds))
            let task = loop.scheduleTask(in: delay) { [self] in
                self.state.withLock { $0.alarm = nil }
                goOn()
            }
            state.alarm = (time, task)
        }
    }
}

extension NIOLoopBound<any WaitingReader> {
    fileprivate func execute(_ body: @escaping @Sendable (any WaitingReader) -> Void) {
        eventLoop.execute { body(self.value) }
    }
}
