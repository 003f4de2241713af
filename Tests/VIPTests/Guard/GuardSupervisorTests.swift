import Platform
import Testing

@testable import VIP

@Suite("guard: supervision of the daemon")
struct GuardSupervisorTests {
    private let start = BootInstant(nanoseconds: 1_000_000_000_000)
    private let killed = DaemonEnd.signalled(number: 9, name: "Killed")

    private func at(_ seconds: Double) -> BootInstant {
        start.advanced(by: .nanoseconds(Int64(seconds * 1_000_000_000)))
    }

    /// The directives without the words for the operator.
    private func acts(_ supervisor: inout GuardSupervisor, _ event: GuardEvent, _ seconds: Double) -> [GuardDirective] {
        supervisor.step(event, now: at(seconds)).filter { if case .log = $0 { false } else { true } }
    }

    private func running() -> GuardSupervisor {
        var supervisor = GuardSupervisor(now: start)
        #expect(acts(&supervisor, .wake, 0) == [.start])
        #expect(acts(&supervisor, .started(pid: 42), 0) == [])
        return supervisor
    }

    @Test("a killed daemon: its addresses are removed first, then it is started again after 0.1 s")
    func killedDaemon() {
        var supervisor = running()
        #expect(acts(&supervisor, .channelClosed, 5) == [.removeAll])
        #expect(acts(&supervisor, .ended(killed), 5) == [.clear])
        #expect(supervisor.nextWake == at(5.1))
        #expect(acts(&supervisor, .wake, 5.09) == [])
        #expect(acts(&supervisor, .wake, 5.1) == [.start])
    }

    @Test("the wait doubles up to ten seconds, and begins anew after a minute of sound running")
    func backOff() {
        var supervisor = running()
        _ = acts(&supervisor, .ready, 0)
        var time = 0.0
        var waits: [Double] = []
        for _ in 0..<9 {
            _ = acts(&supervisor, .ended(.exited(status: 1)), time)
            let next = supervisor.nextWake.map { at(0).duration(to: $0).inMilliseconds } ?? -1
            waits.append((Double(next) / 1000 - time).rounded(toPlaces: 3))
            time = Double(next) / 1000
            #expect(acts(&supervisor, .wake, time) == [.start])
            _ = acts(&supervisor, .started(pid: 43), time)
        }
        #expect(waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
        _ = acts(&supervisor, .ended(killed), time + 59)
        #expect(supervisor.nextWake == at(time + 69))
        _ = acts(&supervisor, .wake, time + 69)
        _ = acts(&supervisor, .started(pid: 44), time + 69)
        _ = acts(&supervisor, .ended(killed), time + 129)
        #expect(supervisor.nextWake == at(time + 129.1))
    }

    @Test("a daemon that ends by itself before it was ever up is not started again: whoever started it sees why")
    func neverUp() {
        var supervisor = running()
        #expect(acts(&supervisor, .ended(.exited(status: 1)), 1) == [.clear, .exit(status: 1)])
    }

    @Test("a daemon that crashes before it was ever up is started again")
    func crashesEarly() {
        var supervisor = running()
        #expect(acts(&supervisor, .ended(killed), 1) == [.clear])
        #expect(supervisor.nextWake != nil)
    }

    @Test("a daemon that cannot even be started is tried again with the same waits")
    func startFails() {
        var supervisor = GuardSupervisor(now: start)
        #expect(acts(&supervisor, .wake, 0) == [.start])
        let said = supervisor.step(.startFailed("no memory"), now: at(0))
        #expect(said == [.log("the daemon cannot be started: no memory; the next attempt is in 0.1 s")])
        #expect(acts(&supervisor, .wake, 0.1) == [.start])
    }

    @Test("the first signal is passed on as a record, not as a signal, and status 0 follows the daemon's")
    func gracefulStop() {
        var supervisor = running()
        #expect(acts(&supervisor, .stopSignal("SIGTERM"), 1) == [.sendStop])
        #expect(supervisor.nextWake == at(6))
        #expect(acts(&supervisor, .channelClosed, 2) == [.removeAll])
        #expect(acts(&supervisor, .ended(.exited(status: 0)), 2) == [.clear, .exit(status: 0)])
        #expect(acts(&supervisor, .wake, 3) == [])
    }

    @Test("a daemon that fails while it stops is not started again; its status is passed on")
    func failingStop() {
        var supervisor = running()
        _ = acts(&supervisor, .stopSignal("SIGTERM"), 1)
        #expect(acts(&supervisor, .ended(.exited(status: 3)), 2) == [.clear, .exit(status: 3)])
    }

    @Test("the second signal removes the addresses and then kills")
    func secondSignal() {
        var supervisor = running()
        _ = acts(&supervisor, .stopSignal("SIGINT"), 1)
        #expect(acts(&supervisor, .stopSignal("SIGINT"), 1.5) == [.removeAll, .kill])
        #expect(acts(&supervisor, .ended(killed), 1.6) == [.clear, .exit(status: 1)])
    }

    @Test("a daemon that does not stop within five seconds loses its addresses and is killed")
    func stopTimeout() {
        var supervisor = running()
        _ = acts(&supervisor, .stopSignal("SIGTERM"), 1)
        #expect(acts(&supervisor, .wake, 5.9) == [])
        #expect(acts(&supervisor, .wake, 6) == [.removeAll, .kill])
        #expect(acts(&supervisor, .ended(killed), 6.1) == [.clear, .exit(status: 1)])
    }

    @Test("a daemon that does not even die holds up the guard no longer than five seconds more")
    func immortal() {
        var supervisor = running()
        _ = acts(&supervisor, .stopSignal("SIGTERM"), 1)
        _ = acts(&supervisor, .wake, 6)
        #expect(acts(&supervisor, .wake, 7) == [.removeAll, .kill])
        #expect(acts(&supervisor, .wake, 11) == [.removeAll, .kill, .exit(status: 1)])
    }

    @Test("a signal while no daemon runs ends the guard at once")
    func stopWhileWaiting() {
        var supervisor = running()
        _ = acts(&supervisor, .ended(killed), 1)
        #expect(acts(&supervisor, .stopSignal("SIGTERM"), 1.05) == [.exit(status: 0)])
    }

    @Test("a signal while a dead daemon is waited for ends the guard with it")
    func stopWhileEnding() {
        var supervisor = running()
        _ = acts(&supervisor, .channelClosed, 1)
        #expect(acts(&supervisor, .stopSignal("SIGTERM"), 1.01) == [])
        #expect(acts(&supervisor, .ended(killed), 1.02) == [.clear, .exit(status: 1)])
    }

    @Test("statuses that a restart would not change are passed on", arguments: [Int32(0), 64, 77, 78])
    func finalStatus(status: Int32) {
        var supervisor = running()
        #expect(acts(&supervisor, .ended(.exited(status: status)), 1) == [.clear, .exit(status: status)])
    }

    @Test("a daemon that closed its channel but lives is killed after 0.2 s, and again while it does not end")
    func closedButAlive() {
        var supervisor = running()
        #expect(acts(&supervisor, .channelClosed, 1) == [.removeAll])
        #expect(supervisor.nextWake == at(1.2))
        #expect(acts(&supervisor, .wake, 1.2) == [.removeAll, .kill])
        #expect(acts(&supervisor, .wake, 2.2) == [.removeAll, .kill])
    }

    @Test("a daemon whose words cannot be obeyed is killed and started again")
    func unguardable() {
        var supervisor = running()
        #expect(acts(&supervisor, .unguardable("it holds too much"), 1) == [.removeAll, .kill])
        #expect(acts(&supervisor, .ended(killed), 1) == [.clear])
        #expect(acts(&supervisor, .wake, 1.1) == [.start])
    }

    @Test("the operator is told what happened, to whom, and what follows")
    func words() {
        var supervisor = running()
        let early = supervisor.step(.ended(.signalled(number: 6, name: "Aborted")), now: at(2.34))
        #expect(
            early.last
                == .log(
                    "the daemon was ended by signal 6 (Aborted) after 2.3 s before it was up; its addresses are "
                        + "removed, and it is started again in 0.1 s"))
        _ = supervisor.step(.wake, now: at(3))
        _ = supervisor.step(.started(pid: 43), now: at(3))
        _ = supervisor.step(.ready, now: at(3))
        let later = supervisor.step(.ended(.exited(status: 70)), now: at(4))
        #expect(
            later.last
                == .log(
                    "the daemon ended with status 70 after 1.0 s; its addresses are removed, and it is started again "
                        + "in 0.2 s"))
    }
}

extension Double {
    fileprivate func rounded(toPlaces places: Int) -> Double {
        let factor = (0..<places).reduce(1.0) { value, _ in value * 10 }
        return (self * factor).rounded() / factor
    }
}
