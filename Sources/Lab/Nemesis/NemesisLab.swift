import Glibc
import Platform
import Synchronization

/// A laboratory that can be put into all the troubles of `NemesisAction`, and out of them.
public final class NemesisLab: Sendable {
    public let lab: LabCluster
    public let setup: NemesisSetup
    let disks: [SmallDisk]
    private let clocks: [WallClockShift]
    private let slewed: [SlewedClock]
    private let echo: TCPResponders
    private let holder = Mutex<TCPProber?>(nil)
    private let loads = Mutex<[ChildProcess]>([])
    private let debuggers = Mutex<[Int: Debugger]>([:])
    private let filled = Mutex<[Int: pid_t?]>([:])

    let record = Mutex(Record())
    /// Hand-overs that were asked for in this round, and have perhaps not been answered yet.
    let handOvers = Mutex<[Task<String, Never>]>([])

    /// Builds network, disks and clocks; nothing of the product is started.
    public init(_ setup: NemesisSetup, binary: String? = nil) throws {
        self.setup = setup
        let lab = try LabCluster(nodes: setup.nodes, binary: binary, family: setup.family)
        do {
            disks = setup.hasSmallDisks ? try lab.nodes.map { try SmallDisk(directory: $0.dataDirectory) } : []
            echo = try TCPResponders(lab.network.servers, family: setup.family)
            clocks = setup.hasWallClocks ? try lab.nodes.map { try WallClockShift(directory: $0.directory) } : []
            slewed = setup.hasSlewedClocks ? try lab.nodes.map { try SlewedClock(directory: $0.directory) } : []
        } catch {
            lab.close()
            throw error
        }
        self.lab = lab
    }

    /// Ends everything and removes it.
    public func close() {
        holder.withLock { holder in
            holder?.stop()
            holder = nil
        }
        echo.stop()
        lab.close()
    }

    /// The client that holds a connection to the VIP, started by the first call.
    func startHolding() throws -> TCPProber {
        try holder.withLock { holder in
            if let holder { return holder }
            let made = try TCPProber(lab.network.client, target: lab.vip)
            holder = made
            return made
        }
    }

    deinit { close() }

    /// Starts the product everywhere and waits until it is one cluster whose VIP is held.
    @discardableResult
    public func start(further: [String] = []) async throws -> LabCluster.Formation {
        var options = StartOptions.identical(expect: setup.nodes)
        options.further = ["--vip", lab.vipText] + setup.further + further
        for node in lab.nodes {
            let wall = clocks.isEmpty ? [:] : clocks[node.number - 1].environment
            let steady = slewed.isEmpty ? [:] : slewed[node.number - 1].environment
            try node.start(options, environment: PreloadLibrary.merge(wall, steady))
        }
        let formation = try await lab.formation(within: .seconds(30))
        _ = try await lab.holder()
        return formation
    }

    // MARK: Doing

    /// Does one thing. What it would hit and is not there any more is left at that: faults may meet.
    func perform(_ action: NemesisAction) async throws {
        switch action {
        case .kill(let target, let node): signal(target, lab[node], SIGKILL)
        case .stop(let target, let node): signal(target, lab[node], SIGSTOP)
        case .debug(let node):
            guard let daemon = lab[node].daemonPID else { return }
            let debugger = try await Debugger(daemon)
            debuggers.withLock { $0[node] = debugger }
        case .detach(let node): debuggers.withLock { $0.removeValue(forKey: node) }?.detach()
        case .resume(let node): lab[node].signalAll(SIGCONT)
        case .terminate(let node):
            record.withLock { $0.planned.append((node, BootClock.now)) }
            lab[node].process?.signal(SIGTERM)
        case .restart(let node):
            try await end(lab[node], orderly: true)
            try lab[node].startAgain()
        case .restartAll(let orderly):
            try await endAll(orderly: orderly)
            for node in lab.nodes { try node.startAgain() }
        case .wipe(let node, let orderly):
            try await end(lab[node], orderly: orderly)
            lab[node].wipe()
            try lab[node].startAgain()
        case .formAnew: try await formAnew()
        case .failOver(let successor, let node): failOver(to: successor, at: node)
        case .leave(let node): try await end(lab[node], orderly: true)
        case .remove(let node, let other): try await remove(node, through: other)
        case .join(let node, let wiped):
            if wiped { lab[node].wipe() }
            try lab[node].startAgain()
        case .revive(let node): try await revive(node)
        case .link(let node, let up):
            try lab.network.setLink(ofNode: node, up: up)
            let now = BootClock.now
            record.withLock { record in
                for index in record.cut.indices where record.cut[index].node == node && record.cut[index].end == nil {
                    record.cut[index].end = now
                }
                if !up { record.cut.append(Timeline.Interval(node: node, start: now, end: nil)) }
            }
        case .traffic(let rules): try lab.network.apply(rules)
        case .powerOff(let node):
            // The processes first: a host without power does nothing more, and its wire is silent at once.
            try lab.network.setLink(ofNode: node, up: false)
            let off = BootClock.now
            signal(.both, lab[node], SIGKILL)
            record.withLock { $0.powerless.append(Timeline.Interval(node: node, start: off, end: nil)) }
        case .deleteAddress(let node):
            // Somebody was faster when it fails: it has just moved.
            _ = try ToolCommand.run([
                "ip", "-n", lab[node].namespace.name, "address", "delete", lab.vipText, "dev", Network.interface,
            ])
        case .fillDisk(let node):
            filled.withLock { $0[node] = lab[node].daemonPID }
            // A node that sees its disk fill hands over.
            record.withLock { $0.planned.append((node, BootClock.now)) }
            try disk(node).fill()
        case .awaitFullDisk(let node): try await awaitFullDisk(node) { false }
        case .freeDisk(let node): try disk(node).free()
        case .wallClock(let node, let seconds): try Self.own(clocks, of: node).set(seconds: seconds)
        case .slew(let node, let rate): try Self.own(slewed, of: node).set(rate: rate)
        case .starveProcessors(let loops, let time):
            for _ in 0..<loops { try load(["nice", "-n", "-15"], "while :; do :; done", time) }
        case .starveDisk(let writers, let time):
            for number in 0..<writers {
                try load(
                    [], "while :; do dd if=/dev/zero of=writer\(number) bs=64k count=64 oflag=dsync status=none; done",
                    time)
            }
        case .awaitFormation: _ = try await lab.formation(within: .seconds(30))
        case .awaitMember(let node): try await awaitMember(node)
        case .awaitHolder: try await awaitHolder()
        case .awaitRest: try await awaitRest()
        }
    }

    /// Keeps the disk full until that is felt: `isFelt`, the lead was handed over, or the daemon has ended. What libraft made before can still be
    /// written to: tens of megabytes.
    func awaitFullDisk(_ node: Int, _ isFelt: () -> Bool) async throws {
        guard let before = filled.withLock({ $0[node] }) else { return }
        let disk = try disk(node)
        try await eventually("write that fails on node \(node)", within: .seconds(90), every: .milliseconds(3)) {
            try disk.fill()
            if lab[node].daemonPID != before || isFelt() { return true }
            return (try? await lab[node].status(within: .seconds(1)))?.isLeader == false
        }
    }

    private func disk(_ node: Int) throws -> SmallDisk {
        guard disks.count >= node else { throw LabError("node \(node) has no small disk: its setup asked for none") }
        return disks[node - 1]
    }

    private static func own<Clock>(_ clocks: [Clock], of node: Int) throws -> Clock {
        guard clocks.count >= node else { throw LabError("node \(node) has no clock of its own") }
        return clocks[node - 1]
    }

    private func signal(_ target: NemesisAction.Target, _ node: LabNode, _ number: Int32) {
        switch target {
        case .daemon: if let pid = node.daemonPID { kill(pid, number) }
        case .guardProcess: if let pid = node.guardPID { kill(pid, number) }
        case .both:
            record.withLock { $0.lifeless.append((node.number, BootClock.now, number != SIGSTOP)) }
            // Stopped first: else the one that dies last sees the other go, and still acts.
            node.signalAll(SIGSTOP)
            if number != SIGSTOP { node.signalAll(number) }
        }
    }

    private func load(_ prefix: [String], _ script: String, _ time: Duration) throws {
        // Ends by itself: nobody may be left with time to end it. In a namespace, so that nothing forgets it.
        let seconds = "\(Double(time.inMilliseconds) / 1000)"
        let process = try ChildProcess(
            prefix + ["timeout", "-s", "KILL", seconds, "sh", "-c", script], in: lab.network.client,
            directory: lab.network.directory, log: "/dev/null")
        loads.withLock { $0.append(process) }
    }

    private func revive(_ node: Int) async throws {
        let host = lab[node]
        try await host.kill9()
        let wasOff = record.withLock { record in record.powerless.contains { $0.node == node && $0.end == nil } }
        if wasOff {
            // What a host that starts again has.
            try lab.network.dropForeignAddresses(ofNode: node)
            record.withLock { record in
                for index in record.powerless.indices where record.powerless[index].node == node {
                    record.powerless[index].end = record.powerless[index].end ?? BootClock.now
                }
            }
            try lab.network.setLink(ofNode: node, up: true)
        }
        try host.startAgain()
    }

    // MARK: Undoing

    /// Forgets what was done in earlier rounds.
    func beginRecord() { record.withLock { $0 = Record() } }

    var deeds: Record { record.withLock { $0 } }

    /// Puts everything right: traffic, links, disks, clocks, stopped and missing processes.
    func healAll() async throws {
        let loads = loads.withLock { loads in
            defer { loads = [] }
            return loads
        }
        // timeout(1) hands it on to what it runs.
        for load in loads { load.signal(SIGTERM) }
        try lab.network.apply(TrafficRules())
        for disk in disks { try disk.free() }
        for clock in clocks { try clock.set(seconds: 0) }
        for clock in slewed { try clock.set(rate: 0) }
        let debuggers = debuggers.withLock { debuggers in
            defer { debuggers = [:] }
            return debuggers
        }
        for debugger in debuggers.values { debugger.detach() }
        for node in lab.nodes {
            node.signalAll(SIGCONT)
            let isOff = record.withLock { $0.powerless.contains { $0.node == node.number && $0.end == nil } }
            if node.guardPID == nil || isOff { try await revive(node.number) }
            try lab.network.setLink(ofNode: node.number, up: true)
        }
    }
}
