import Platform

/// What a round of a case showed, from outside.
public struct NemesisRound: Sendable {
    public var trouble: NemesisCase
    public var seed: UInt64
    /// What clients wrote throughout; then the VIP was not measured, because the writes moved it.
    public var writes: Writes?
    public var steps: [NemesisPlan.Step] = []
    /// What was done before.
    public var preparation: [NemesisAction] = []
    /// The node that had the VIP at first, and the one that had it at the end.
    public var holder = 0
    public var newHolder: Int?
    /// From the first fault to the first answer of another node; nil when there was none, or with writes.
    public var takeover: Duration?
    /// The longest time in which the client had no answer, from the first fault to the end; where there is a limit for it, until
    /// everything was put right.
    public var outage: Duration?
    /// The same, from the moment at which everything was put right.
    public var outageOnHealing: Duration?
    /// The longest time in which no node had the address.
    public var vacancy: Duration?
    /// The longest time in which two nodes had an address, hand-overs that were planned left out.
    public var overlap = Duration.zero
    /// The same of planned hand-overs.
    public var plannedOverlap = Duration.zero
    /// The same of a kernel whose host was cut off and had neither daemon nor guard left, before anybody could hear that.
    public var unheardOverlap = Duration.zero
    /// The same of a kernel whose daemon and guard were killed in the middle of a planned hand-over.
    public var severedOverlap = Duration.zero
    /// From the moment at which everything was put right until all was well.
    public var recovery: Duration?
    /// How often a client lost the connection that it held to the VIP; nil with writes.
    public var connectionsLost: Int?
    /// Writes that were acknowledged, and those of which nobody knows.
    public var acknowledged = 0
    public var unknown = 0
    /// The longest time in which the probe itself did not run.
    public var stall = Duration.zero
    /// What is worth telling and no fault.
    public var remarks: [String] = []
    /// What must not be, in words. Empty for a round that went well.
    public var findings: [String] = []

    /// What was done, for a person.
    public var story: String {
        (preparation.map { "before: \($0)" } + steps.map { "\($0.at.inMilliseconds) ms \($0.action)" })
            .joined(separator: "; ")
    }

    public var isDisturbed: Bool { stall > .milliseconds(50) }

    init(_ trouble: NemesisCase, seed: UInt64, writes: Writes? = nil) {
        self.trouble = trouble
        self.seed = seed
        self.writes = writes
    }

    /// What is written.
    public enum Writes: String, Sendable {
        /// One value, again and again.
        case register
        /// Elements of a set, each change on condition that nobody has changed it since it was read.
        case set

        /// The same seed, the same writes.
        public init(seed: UInt64) { self = seed % 4 < 2 ? .register : .set }

        var workload: any Workload {
            switch self {
            case .register: RegisterWriter()
            case .set: SetWriter()
            }
        }
    }
}

/// What is still well, and what is not.
public struct NemesisBounds: Sendable {
    /// Two nodes with one address, by no plan.
    public var overlap = Duration.milliseconds(1)
    /// The same in a planned hand-over.
    public var plannedOverlap = Duration.milliseconds(100)
    /// The same with a kernel that cannot be heard and that nobody can take the address from: its lifetime.
    public var unheardOverlap = Duration.seconds(2)
    /// The same with a kernel whose daemon and guard were killed in the middle of a planned hand-over.
    /// The successor hears of the death when the kernel has closed the connections, and takes the address off again.
    public var severedOverlap = Duration.milliseconds(150)
    /// Nobody has the address although a majority is there.
    public var vacancy = Duration.seconds(5)
    /// From the moment at which everything was put right until all is well.
    public var recovery = Duration.seconds(30)

    public init() {}
}

/// Runs rounds in one laboratory, one after the other.
public struct NemesisRunner: Sendable {
    public let nemesis: NemesisLab
    public var bounds: NemesisBounds
    private var lab: LabCluster { nemesis.lab }

    public init(_ nemesis: NemesisLab, bounds: NemesisBounds = NemesisBounds()) {
        self.nemesis = nemesis
        self.bounds = bounds
    }

    /// One round: trouble, healing, audit.
    ///
    /// The laboratory must be whole at its begin. When it is not at the end, `findings` says so, and it is of no more use.
    /// - Throws: `LabError` when the laboratory itself failed.
    public func run(
        _ trouble: NemesisCase, seed: UInt64, writes: NemesisRound.Writes? = nil
    ) async throws -> NemesisRound {
        let setup = trouble.setup(nemesis.setup.family)
        guard setup == nemesis.setup else {
            throw LabError("\(trouble.rawValue) needs \(setup), and this laboratory is \(nemesis.setup)")
        }
        var round = NemesisRound(trouble, seed: seed, writes: writes)
        let logs = LogMarks(lab)
        let prober = try lab.startProbe()
        prober.forget()
        let connection = try nemesis.startHolding()
        let before = trouble.formsAnew ? nil : try await formed()
        let plan = trouble.plan(holder: before?.holder ?? 1, seed: seed)
        (round.preparation, round.steps) = (plan.preparation, plan.steps)
        do {
            round.holder = try await prepare(plan, before?.holder)
        } catch {
            round.findings.append("the round could not begin: \(error)")
            round.findings += logs.findings(lab, expected: trouble.expectedLines)
            return round
        }
        nemesis.beginRecord()

        let workload = writes?.workload
        let start = BootClock.now
        async let writing: Void = write(trouble, workload)
        // Comes before the wait for the writers, whatever the way out.
        defer { workload?.stop() }
        var relieved: BootInstant?
        do {
            relieved = try await carryOut(plan, from: start, &round, workload)
        } catch {
            round.findings.append("the plan could not be carried out: \(error)")
        }
        let healed = relieved ?? BootClock.now
        try await nemesis.healAll()
        if let workload {
            // Some writes must succeed after all is over.
            let count = workload.count(.acknowledged)
            do {
                try await eventually("acknowledged write after the fault", within: bounds.recovery) {
                    workload.count(.acknowledged) > count + 10
                }
            } catch { round.findings.append("\(error)") }
            workload.stop()
        }
        await writing
        if let workload {
            (round.acknowledged, round.unknown) = (workload.count(.acknowledged), workload.count(.unknown))
            do {
                round.findings += try await workload.findings(lab, within: bounds.recovery)
            } catch { round.findings.append("\(error)") }
        }
        do {
            try await recovered(before?.formation, &round)
            round.recovery = healed.duration(to: BootClock.now)
            // A bad word of the past few moments would come after this.
            try await Task.sleep(for: .milliseconds(500))
        } catch { round.findings.append("\(error)") }
        judge(&round, start: start, healed: healed, end: BootClock.now, prober.record)
        if writes == nil {
            let losses = connection.record.losses(since: start)
            round.connectionsLost = losses
            if trouble.mustStay && losses > 0 {
                round.findings.append("a client lost its connection \(losses) times, and the address did not move")
            }
        }
        round.remarks += await nemesis.handOverAnswers()
        round.findings += logs.findings(lab, expected: trouble.expectedLines)
        round.findings += leftovers(round.newHolder)
        return round
    }

    /// The cluster as it is before the round, at rest.
    private func formed() async throws -> (holder: Int, formation: LabCluster.Formation) {
        try await nemesis.awaitRest()
        return (try await lab.settled(for: .zero), try await lab.formation(within: .seconds(10)))
    }

    /// Does what the plan has before its begin, and gives the holder then.
    ///
    /// `holder`: nil when there is no cluster yet.
    private func prepare(_ plan: NemesisPlan, _ holder: Int?) async throws -> Int {
        for action in plan.preparation {
            do { try await nemesis.perform(action) } catch { throw LabError("\(action): \(error)") }
        }
        if plan.preparation.isEmpty, let holder { return holder }
        return try await lab.holder()
    }

    /// Some clients side by side, until the workload is told to stop.
    private func write(_ trouble: NemesisCase, _ workload: (any Workload)?) async {
        guard let workload else { return }
        let lab = lab
        await withTaskGroup { group in
            for number in 0..<trouble.writers {
                group.addTask { await workload.run(lab, writer: 43 + number, every: trouble.writeInterval) }
            }
        }
    }

    /// Gives the time of the first of the steps that put things right at the end.
    private func carryOut(
        _ plan: NemesisPlan, from start: BootInstant, _ round: inout NemesisRound, _ workload: (any Workload)?
    ) async throws -> BootInstant? {
        var relieved: BootInstant?
        for (index, step) in plan.steps.enumerated() {
            let rest = BootClock.now.duration(to: start.advanced(by: step.at))
            if rest > .zero { try await Task.sleep(for: rest) }
            if index == plan.firstRelief { relieved = BootClock.now }
            do {
                if case .awaitFullDisk(let node) = step.action, let workload {
                    let (answers, unknown) = (workload.trouble.count, workload.count(.unknown))
                    try await nemesis.awaitFullDisk(node) { workload.count(.unknown) > unknown }
                    let answer = workload.trouble.dropFirst(answers).first
                    let isHung = answer == nil && workload.count(.unknown) > unknown
                    round.remarks.append(
                        "the disk was felt: \(answer ?? (isHung ? "writes get no answer" : "the lead was handed over, or the daemon ended"))"
                    )
                } else {
                    try await nemesis.perform(step.action)
                }
            } catch { throw LabError("\(step.action): \(error)") }
        }
        let rest = BootClock.now.duration(to: start.advanced(by: plan.length))
        if rest > .zero { try await Task.sleep(for: rest) }
        return relieved
    }

    /// Waits until all nodes are the cluster that they were, and one has the VIP and answers.
    ///
    /// `before`: nil for one that has been formed since.
    private func recovered(_ before: LabCluster.Formation?, _ round: inout NemesisRound) async throws {
        for node in lab.nodes {
            try await eventually("guard and daemon of node \(node.number)", within: bounds.recovery) {
                node.daemonPID != nil
            }
        }
        let after = try await lab.formation(within: bounds.recovery, every: .milliseconds(50))
        if let before {
            if after.clusterID != before.clusterID {
                round.findings.append("the cluster was \(before.clusterID) and is \(after.clusterID)")
            }
            let isSame =
                round.trouble.keepsMembers ? after.members == before.members : after.addresses == before.addresses
            if !isSame { round.findings.append("the members were \(before.members) and are \(after.members)") }
        }
        if round.writes != nil {
            try await eventually("VIP back", within: .seconds(10)) {
                try await lab[after.leader].setVIP(lab.vipText).status == 202
            }
        }
        round.newHolder = try await lab.settled(for: .milliseconds(500), within: bounds.recovery)
    }
}
