import Glibc
import Platform

/// Ways to lose a node.
public enum Fault: String, CaseIterable, Sendable {
    /// SIGKILL to every process of the product, in one instant.
    case kill9 = "kill -9"
    /// SIGKILL to the daemon, not to its guard.
    case kill9Daemon = "kill -9 of the daemon"
    /// SIGKILL to the guard, not to the daemon.
    case kill9Guard = "kill -9 of the guard"
    case terminate = "SIGTERM"
    /// SIGSTOP to the daemon, not to its guard.
    case stopDaemon = "SIGSTOP of the daemon"
    /// SIGSTOP to every process of the product.
    case stopAll = "SIGSTOP of all"
    /// The switch's side of the cable goes down: the node sees its carrier go.
    case linkCut = "link cut"
    /// The switch forwards nothing from or to the node, and nobody is told.
    case silentPartition = "silent partition"
    /// The cable goes, and every process at once.
    case powerOff = "power off"
}

extension LabCluster {
    /// Breaks a node.
    ///
    /// Gives the moment right before it was done.
    @discardableResult
    public func inject(_ fault: Fault, onNode number: Int) throws -> BootInstant {
        let node = self[number]
        func pid(_ pid: pid_t?, _ name: String) throws -> pid_t {
            guard let pid else { throw LabError("node \(number) has no \(name) to break") }
            return pid
        }
        switch fault {
        case .kill9:
            let time = BootClock.now
            // Stopped first: else the one that dies last sees the other go, and still acts.
            node.signalAll(SIGSTOP)
            node.signalAll(SIGKILL)
            return time
        case .kill9Daemon, .stopDaemon:
            let daemon = try pid(node.daemonPID, "daemon")
            let time = BootClock.now
            kill(daemon, fault == .stopDaemon ? SIGSTOP : SIGKILL)
            return time
        case .kill9Guard, .terminate:
            let parent = try pid(node.guardPID, "guard")
            let time = BootClock.now
            kill(parent, fault == .terminate ? SIGTERM : SIGKILL)
            return time
        case .stopAll:
            let time = BootClock.now
            node.signalAll(SIGSTOP)
            return time
        case .linkCut:
            let time = BootClock.now
            try network.setLink(ofNode: number, up: false)
            return time
        case .silentPartition:
            let time = BootClock.now
            try network.setForwarding(ofNode: number, false)
            return time
        case .powerOff:
            let time = BootClock.now
            try network.setLink(ofNode: number, up: false)
            node.signalAll(SIGKILL)
            return time
        }
    }

    /// Puts the node right again, as its operator would.
    public func recover(from fault: Fault, onNode number: Int) async throws {
        let node = self[number]
        switch fault {
        case .linkCut: try network.setLink(ofNode: number, up: true)
        case .silentPartition: try network.setForwarding(ofNode: number, true)
        case .stopDaemon, .stopAll: node.signalAll(SIGCONT)
        // The guard starts a new daemon by itself.
        case .kill9Daemon: break
        case .kill9, .kill9Guard, .terminate:
            try await node.kill9()
            try node.startAgain()
        case .powerOff:
            try await node.kill9()
            // What a host that starts again has.
            try network.dropForeignAddresses(ofNode: number)
            try network.setLink(ofNode: number, up: true)
            try node.startAgain()
        }
    }
}

/// What a fault did, seen from outside.
public struct FaultReport: Sendable {
    public var fault: Fault
    public var time: BootInstant
    /// The node that held the VIP and was broken.
    public var oldHolder: Int
    public var newHolder: Int?
    public var view: FailoverView
    /// From the fault to the kernel's word that the old holder has the address no more; nil when it kept it to the end.
    public var oldLost: Duration?
    /// From the fault to the kernel's word that another node has the address.
    public var newGained: Duration?
    /// For how long two nodes had the address; one whose power is off has none.
    public var overlap: Duration
    /// Gratuitous ARP that the client heard from the fault on.
    public var announcements: [ARPCapture.Entry]
}

extension LabCluster {
    /// Breaks the holder of the VIP, and watches until another node answers and some time longer.
    ///
    /// `settle`: how long nothing must have changed before.
    /// `limit`: how long to wait for another node's answer.
    /// `observe`: how long to watch on after it. While the old holder still has the address it is watched on, too, until
    /// `limit` is over.
    /// `isReady`: as for `settled`.
    public func measure(
        _ fault: Fault, settle: Duration = .seconds(1), within limit: Duration = .seconds(15),
        observe: Duration = .seconds(2), isReady: (() async throws -> Bool)? = nil
    ) async throws -> FaultReport {
        let old = try await settled(for: settle, isReady: isReady)
        let prober = try startProbe()
        prober.forget()
        // A stretch of answers from before: what comes after is judged against it.
        try await eventually("answers of node \(old)", within: .seconds(5)) {
            prober.record.replies.count { $0.node == old } >= 100
        }
        let time = try inject(fault, onNode: old)
        let deadline = time.advanced(by: limit)
        while BootClock.now < deadline {
            if let reply = prober.lastReply, reply.node != old, reply.receivedAt > time { break }
            try await Task.sleep(for: .milliseconds(5))
        }
        try await Task.sleep(for: observe)
        // How long the old holder keeps the address is part of the answer.
        while witness.holders(of: vip).contains(old), BootClock.now < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        let end = BootClock.now
        let timeline = witness.timeline
        let view = FailoverView(prober.record, fault: time, end: end)
        let gains = network.servers.indices.map { $0 + 1 }.filter { $0 != old }
            .compactMap { timeline.gain(of: vip, by: $0, after: time) }
        let holders = timeline.holders(of: vip)
        return FaultReport(
            fault: fault, time: time, oldHolder: old, newHolder: holders.first { $0 != old }, view: view,
            oldLost: timeline.loss(of: vip, by: old, after: time).map { time.duration(to: $0) },
            newGained: gains.min().map { time.duration(to: $0) },
            // A host without power has no address, whatever its namespace's kernel still says.
            overlap: timeline.overlap(of: vip, from: time, to: end, leavingOut: fault == .powerOff ? old : nil),
            announcements: arp.announcements(of: vip, since: time))
    }
}
