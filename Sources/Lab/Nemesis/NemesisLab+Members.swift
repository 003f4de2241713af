import FoundationEssentials
import Glibc
import Platform
import Synchronization

/// Deeds that a cluster is asked for: hand-overs, and members that come and go.
extension NemesisLab {
    /// Ends a node, and waits until nothing of it runs.
    func end(_ node: LabNode, orderly: Bool) async throws {
        if orderly, node.guardPID != nil {
            record.withLock { $0.planned.append((node.number, BootClock.now)) }
            try await node.terminate(within: .seconds(10))
        }
        try await node.kill9()
    }

    /// Ends all nodes at once.
    func endAll(orderly: Bool) async throws {
        for node in lab.nodes {
            if orderly { node.process?.signal(SIGTERM) } else { try lab.inject(.kill9, onNode: node.number) }
        }
        for node in lab.nodes {
            if orderly { try await node.process?.exit(within: .seconds(10)) }
            try await node.kill9()
        }
        try await lab.dropAddresses()
    }

    /// A new cluster on empty disks, and the first answer of its VIP.
    func formAnew() async throws {
        try await lab.endForGood()
        for node in lab.nodes { try node.startAgain() }
        try await awaitHolder()
    }

    /// Takes a node out of the cluster.
    func remove(_ node: Int, through other: Int) async throws {
        record.withLock { $0.planned.append((node, BootClock.now)) }
        let path = "/v1/nodes/\(lab[node].address)"
        let answer = try await lab[other].request("DELETE", path, within: .seconds(10))
        guard answer.status == 200 else { throw LabError("DELETE \(path): \(answer.status) \(answer.message)") }
    }

    // MARK: Hand-overs

    /// Asks for a hand-over and goes on; see `handOverAnswers`.
    func failOver(to successor: NemesisAction.Successor, at node: Int) {
        // Whatever the virtual address is now: in rounds with writes it changes.
        let holders = lab.witness.timeline.holders(ofAnyBut: lab.ownAddresses)
        let time = BootClock.now
        record.withLock { record in record.planned += holders.map { ($0, time) } }
        let wanted: Int? =
            switch successor {
            case .anybody: nil
            case .node(let number): number
            case .next(let count): ((holders.first ?? 1) - 1 + count) % lab.nodes.count + 1
            }
        let lab = lab
        let asking = Task {
            let name = wanted.map { "node \($0)" } ?? "anybody"
            let words = "failover of node \(holders.first.map(String.init) ?? "?") to \(name), asked of node \(node): "
            do {
                let answer = try await lab[node].failOver(to: wanted.map { lab[$0] })
                return words
                    + (answer.status == 200 ? answer.text.trimmingNewlines() : "\(answer.status) \(answer.message)")
            } catch {
                return words + "\(error)"
            }
        }
        handOvers.withLock { $0.append(asking) }
    }

    /// What became of the hand-overs that were asked for since the last call, for a person.
    func handOverAnswers() async -> [String] {
        let asked = handOvers.withLock { tasks in
            defer { tasks = [] }
            return tasks
        }
        var answers: [String] = []
        for task in asked { answers.append(await task.value) }
        return answers
    }

    // MARK: Waiting

    func awaitMember(_ node: Int) async throws {
        try await eventually("node \(node) as a voter", within: .seconds(30), every: .milliseconds(3)) {
            let status = try await lab[node].status(within: .seconds(2))
            return status.isFormed && status.members.contains { $0.id == status.id && $0.role == "voter" }
        }
    }

    func awaitHolder() async throws {
        let prober = try lab.startProbe()
        try await eventually(
            "single holder that answers", within: .seconds(30), every: .milliseconds(1),
            state: { "held by \(self.lab.witness.holders(of: self.lab.vip)), \(self.lab.whoHasIt)" }
        ) {
            let holders = lab.witness.holders(of: lab.vip)
            guard holders.count == 1, let reply = prober.lastReply, holders == [reply.node] else { return false }
            return reply.receivedAt.duration(to: BootClock.now) < .milliseconds(20)
        }
    }

    /// Waits until nothing has changed for half a second, and for a stretch of answers: what comes after is judged against it.
    func awaitRest() async throws {
        let holder = try await lab.settled(for: .milliseconds(500))
        let prober = try lab.startProbe()
        prober.forget()
        try await eventually("answers of node \(holder)", within: .seconds(5)) {
            prober.record.replies.count { $0.node == holder } >= 100
        }
        let connection = try startHolding()
        try await eventually("connection to the VIP", within: .seconds(5)) {
            connection.record.made.count > connection.record.lost.count
        }
    }
}

extension LabNode {
    /// POST /v1/failover, to another node or to whom the leader chooses.
    public func failOver(to successor: LabNode? = nil, within limit: Duration = .seconds(6)) async throws
        -> HTTPResponse
    {
        try await request(
            "POST", "/v1/failover", body: successor.map { #"{"to":"\#($0.address)"}"# }, within: limit)
    }
}

extension LabCluster {
    /// What the nodes have without the product.
    var ownAddresses: Set<IPAddress> {
        Set(nodes.flatMap { [$0.address, Network.address6(ofNode: $0.number)] })
    }

    /// Ends all nodes and empties their disks; no kernel has the VIP then, and the client does not know where it was.
    public func endForGood() async throws {
        for node in nodes { node.signalAll(SIGKILL) }
        for node in nodes {
            try await node.kill9()
            node.wipe()
        }
        try await dropAddresses()
        try ToolCommand.check(["ip", "-n", network.client.name, "neighbour", "flush", "all"])
    }

    /// Takes from all kernels what nobody takes care of any more; else they would have the VIP for a second.
    func dropAddresses() async throws {
        for node in nodes { try network.dropForeignAddresses(ofNode: node.number) }
        try await eventually(
            "end of all addresses", within: .seconds(5), every: .milliseconds(2), state: { self.whoHasIt }
        ) { witness.holders(of: vip).isEmpty }
    }
}
