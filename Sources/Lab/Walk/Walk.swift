import Glibc
import Platform

/// A random walk through everything that happens to a cluster in its life, audited after each step.
public final class Walk: Sendable {
    public let lab: LabCluster
    public let seed: UInt64

    /// What a step came to.
    public struct Stage: Sendable {
        public var number: Int
        public var step: WalkStep
        /// From the end of the step until all was well.
        public var recovery: Duration?
        public var findings: [String] = []
    }

    /// Where nodes are, and what was acknowledged.
    private struct State {
        var hosts: [Int: Int]
        var nextHost = 110
        var clusterID: String
        var vip: IPAddress
        /// How nodes are cut off, by number.
        var cuts: [Int: WalkStep.Cut] = [:]
    }

    /// How long a step may take until all is well.
    public static let patience: Duration = .seconds(30)

    /// A laboratory with so many nodes; `binary` as for `LabCluster`.
    public init(nodes count: Int, seed: UInt64, binary: String? = nil) throws {
        lab = try LabCluster(nodes: count, binary: binary)
        self.seed = seed
    }

    public func close() { lab.close() }

    private var vips: [IPAddress] { [lab.vip, Network.spareAddress(200)] }
    private func text(_ vip: IPAddress) -> String { "\(vip)/\(Network.prefixLength)" }

    /// Walks; ends early when a step has findings, because what comes after says nothing more.
    ///
    /// - Parameter told: called after each step.
    public func run(steps: Int, told: (Stage) -> Void = { _ in }) async throws -> [Stage] {
        var model = WalkModel(count: lab.nodes.count, seed: seed)
        var state = State(
            hosts: Dictionary(uniqueKeysWithValues: lab.nodes.map { ($0.number, Int($0.address.bytes[3])) }),
            clusterID: "", vip: lab.vip)
        for node in lab.nodes { try start(node.number, state) }
        let formation = try await lab.formation(within: .seconds(20))
        try await lab.setVIP()
        state.clusterID = formation.clusterID

        var stages: [Stage] = []
        var queue: [WalkStep] = []
        for number in 1...(steps + 1) {
            // At the end everything is put right.
            queue = number <= steps ? [model.next()] : model.relief()
            for step in queue {
                var stage = Stage(number: number, step: step)
                let (logs, begin) = (LogMarks(lab), BootClock.now)
                do {
                    try await perform(step, model, &state)
                    let done = BootClock.now
                    if number <= steps || step == queue.last {
                        try await audit(model.present, state)
                        stage.recovery = done.duration(to: BootClock.now)
                    }
                } catch {
                    stage.findings.append("\(error)")
                }
                stage.findings += overlaps(step, since: begin)
                stage.findings += logs.findings(lab, expected: [])
                if stage.findings.isEmpty { stage.findings += leftovers(model, state) }
                told(stage)
                stages.append(stage)
                if !stage.findings.isEmpty { return stages }
            }
        }
        return stages
    }

    // MARK: Steps

    private func perform(_ step: WalkStep, _ model: WalkModel, _ state: inout State) async throws {
        switch step {
        case .stop(let number): try await lab[number].terminate()
        case .kill(let number): try await kill(number)
        case .start(let number): try start(number, state)
        case .wipe(let number):
            try await kill(number)
            lab[number].wipe()
            try start(number, state)
        case .replace(let number):
            try await remove(number, through: model.present.first { $0 != number } ?? number)
            try await kill(number)
            lab[number].wipe()
            try start(number, state)
        case .move(let number, let orderly):
            if orderly { try await lab[number].terminate() } else { try await kill(number) }
            try move(number, &state)
            try start(number, state)
        case .moveAll:
            for node in lab.nodes { try lab.inject(.kill9, onNode: node.number) }
            for node in lab.nodes { try await kill(node.number) }
            for node in lab.nodes { try move(node.number, &state) }
            for node in lab.nodes { try start(node.number, state) }
        case .blackOut:
            for node in lab.nodes { try lab.inject(.kill9, onNode: node.number) }
            for node in lab.nodes { try await kill(node.number) }
            for node in lab.nodes { try start(node.number, state) }
        case .cut(let number, let cut):
            state.cuts[number] = cut
            try set(cut, number, false, state)
        case .heal(let number):
            guard let cut = state.cuts.removeValue(forKey: number) else { return }
            try set(cut, number, true, state)
        case .flap(let number):
            let own = address(of: number, state)
            try lab.network.setAddress(own, ofNode: number, present: false)
            try await Task.sleep(for: .seconds(1))
            try lab.network.setAddress(own, ofNode: number, present: true)
        case .configure(let number):
            let vip = vips.first { $0 != state.vip } ?? state.vip
            let response = try await lab[number].setVIP(text(vip))
            guard response.status == 202 else {
                throw LabError("PUT /vip through node \(number): \(response.status) \(response.message)")
            }
            state.vip = vip
        }
    }

    private func set(_ cut: WalkStep.Cut, _ number: Int, _ isWhole: Bool, _ state: State) throws {
        switch cut {
        case .carrier: try lab.network.setLink(ofNode: number, up: isWhole)
        case .silent: try lab.network.setForwarding(ofNode: number, isWhole)
        case .mute: try silence(Set(state.cuts.filter { $0.value == .mute }.keys))
        }
    }

    /// Takes a node out of the cluster, by its id, and waits until it knows.
    private func remove(_ number: Int, through other: Int) async throws {
        let id = try await lab[number].status().id
        let response = try await lab[other].request("DELETE", "/v1/nodes/\(id)", within: .seconds(10))
        guard response.status == 200 else {
            throw LabError("DELETE /v1/nodes/\(id) at node \(other): \(response.status) \(response.message)")
        }
        try await eventually("node \(number) to know that it is removed", within: .seconds(10)) {
            try await lab[number].status().state == "removed"
        }
    }

    private func silence(_ numbers: Set<Int>) throws {
        var rules = TrafficRules()
        for number in numbers {
            for other in 0...lab.nodes.count where other != number {
                rules.closed.insert(.init(from: number, to: other))
            }
        }
        try lab.network.apply(rules)
    }

    private func kill(_ number: Int) async throws {
        try await lab[number].kill9()
    }

    private func address(of number: Int, _ state: State) -> IPAddress {
        Network.spareAddress(state.hosts[number] ?? 0)
    }

    private func move(_ number: Int, _ state: inout State) throws {
        try lab.network.dropForeignAddresses(ofNode: number, own: address(of: number, state))
        try lab.network.setAddress(address(of: number, state), ofNode: number, present: false)
        state.hosts[number] = state.nextHost
        state.nextHost = state.nextHost < 189 ? state.nextHost + 1 : 110
        try lab.network.setAddress(address(of: number, state), ofNode: number, present: true)
    }

    /// With the addresses that the nodes have now, as a discovery would know them.
    private func start(_ number: Int, _ state: State) throws {
        var options = StartOptions.identical(expect: lab.nodes.count)
        options.join = [lab.nodes.map { "\(address(of: $0.number, state)):8800" }.joined(separator: ",")]
        try lab[number].start(options)
    }

    // MARK: Audits

    /// Waits until the nodes that are there are the one cluster, all members at the addresses that they have, one of them
    /// with the VIP that was set last, and nobody with any other.
    private func audit(_ present: [Int], _ state: State) async throws {
        let addresses = lab.nodes.map { "\(address(of: $0.number, state)):8800" }.sorted()
        // A member that moves is listed at its new address for some milliseconds before it votes again.
        let formation = try await eventually(
            "cluster of \(lab.nodes.count) voters at \(addresses)", within: Self.patience, every: .milliseconds(20)
        ) {
            let now = try await lab.formation(of: present, memberCount: lab.nodes.count, within: .seconds(10))
            return now.addresses == addresses && now.voters == lab.nodes.count ? now : nil
        }
        guard formation.clusterID == state.clusterID else {
            throw LabError("the cluster was \(state.clusterID) and is \(formation.clusterID)")
        }
        let other = vips.first { $0 != state.vip }
        try await eventually(
            "single holder of \(state.vip) among nodes \(present)", within: .seconds(10),
            state: { self.lab.whoHasIt }
        ) {
            let holders = lab.witness.holders(of: state.vip)
            let strays = other.map { lab.witness.holders(of: $0) } ?? []
            return holders.count == 1 && present.contains(holders[0]) && strays.isEmpty
        }
        for number in present {
            let vip = try await lab[number].vip()
            guard vip == text(state.vip) else {
                throw LabError(
                    "node \(number) says that the VIP is \"\(vip)\", and \(text(state.vip)) was acknowledged")
            }
        }
    }

    private func overlaps(_ step: WalkStep, since begin: BootInstant) -> [String] {
        let timeline = lab.witness.timeline
        // A leader that stops, or that is to be moved, hands the VIP over; both have it for a moment then.
        let bounds = NemesisBounds()
        let bound =
            switch step {
            case .stop, .replace, .move, .moveAll: bounds.plannedOverlap
            default: bounds.overlap
            }
        var findings = vips.flatMap { vip in
            timeline.overlaps(of: vip, from: begin, to: BootClock.now).filter { $0.length > bound }.map {
                "two holders: \(vip) was on nodes \($0.nodes.sorted()) for \($0.length.inMilliseconds) ms"
            }
        }
        if lab.witness.overruns > 0 { findings.append("the witness missed events: its timeline is worth nothing") }
        return findings
    }

    private func leftovers(_ model: WalkModel, _ state: State) -> [String] {
        lab.nodes.flatMap { node -> [String] in
            // One that is just being started is not known yet.
            var findings = node.excesses + (node.guardPID == nil ? [] : node.strangers)
            if model.troubled[node.number] == .down, !node.namespace.processes().isEmpty {
                findings.append("node \(node.number) is down and has the processes \(node.namespace.processes())")
            }
            let own = "\(address(of: node.number, state))/"
            let known = vips.map(text)
            if let all = try? lab.network.addresses(ofNode: node.number) {
                let strange = all.filter { !$0.hasPrefix(own) && !known.contains($0) }
                if !strange.isEmpty { findings.append("node \(node.number) has the addresses \(strange)") }
            }
            return findings
        }
    }
}

extension LabNode {
    /// Processes beyond guard and daemon.
    var strangers: [String] {
        let strangers = Set(namespace.processes()).subtracting([guardPID, daemonPID].compactMap { $0 })
        // A process that ends at this moment is none.
        return strangers.contains { ProcessTable.isAlive($0) }
            ? ["node \(number) has processes besides guard and daemon: \(strangers.sorted())"] : []
    }

    /// Files and memory beyond what the product needs.
    var excesses: [String] {
        var findings: [String] = []
        if let daemon = daemonPID {
            let files = ProcessTable.entries(of: "/proc/\(daemon)/fd").count
            if files > 256 { findings.append("the daemon of node \(number) has \(files) open files") }
            if let memory = ProcessTable.memory(of: daemon)?.resident, memory > 256 << 10 {
                findings.append("the daemon of node \(number) has \(memory >> 10) MiB in memory")
            }
        }
        for name in ProcessTable.entries(of: directory) where name.hasPrefix("core") {
            findings.append("node \(number) left a core: \(name)")
        }
        return findings
    }
}
