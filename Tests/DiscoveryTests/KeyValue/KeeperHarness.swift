import Platform

@testable import Discovery

/// A `KeeperCore` whose store is the test: it says in short words what the core wants, and passes on the answers.
struct KeeperHarness {
    static let start = BootInstant(nanoseconds: 1_000_000_000_000)
    static let lifetime = Duration.seconds(12)

    var core = KeeperCore(seed: 1)
    var now = KeeperHarness.start
    /// The request that the core waits for an answer to.
    var request: KeeperCore.Request?
    private var sent = KeeperHarness.start
    private var holds = 0

    /// What the core wants now.
    mutating func step() -> String {
        switch core.next(now: now) {
        case .wait(nil): return "wait"
        case .wait(let until?): return "wait \(now.duration(to: until).inMilliseconds)"
        case .perform(let request):
            self.request = request
            sent = now
            return Self.text(request)
        }
    }

    mutating func answer(_ answer: KeeperCore.Answer) {
        guard let request else { return }
        core.finished(request, answer, sent: sent, now: now)
        self.request = nil
    }

    /// Steps, each answered: a request that is not the one wanted ends the run, and is the last of what is returned.
    mutating func run(_ script: [(String, KeeperCore.Answer)]) -> [String] {
        var steps: [String] = []
        for (wanted, answer) in script {
            steps.append(step())
            guard steps.last == wanted else { break }
            self.answer(answer)
        }
        return steps
    }

    /// Registers a node without surprises: the hold is "h1" with `lifetime`.
    static func registered(
        _ announcement: DiscoveryAnnouncement = .example(), leader: StoreSnapshot.Leader? = nil
    ) -> KeeperHarness {
        var harness = KeeperHarness()
        harness.core.announce(announcement)
        harness.settle(leader: leader)
        _ = harness.core.takeNotes()
        return harness
    }

    /// Answers everything as a store does in which nothing else happens, until the core waits.
    ///
    /// - Returns: the steps.
    @discardableResult
    mutating func settle(leader: StoreSnapshot.Leader? = nil) -> [String] {
        var steps: [String] = []
        while steps.count < 20 {
            let step = step()
            steps.append(step)
            switch request {
            case nil: return steps
            case .openHold:
                holds += 1
                answer(.opened(StoreHold(id: "h\(holds)", lifetime: Self.lifetime)))
            case .release: answer(.released)
            case .read: answer(.read(snapshot(leader)))
            case .renew, .putNode, .putLeader: answer(.accepted(true))
            }
        }
        return steps
    }

    /// What a reader finds: this node as it was written, and that leader key.
    func snapshot(_ leader: StoreSnapshot.Leader? = nil) -> StoreSnapshot {
        var snapshot = StoreSnapshot()
        if let wanted = core.wanted, let written = core.written { snapshot.nodes[wanted.nodeID] = written }
        snapshot.leader = leader
        return snapshot
    }

    static func text(_ request: KeeperCore.Request) -> String {
        switch request {
        case .openHold: return "open"
        case .renew(let hold): return "renew \(hold.id)"
        case .release(let hold): return "release \(hold.id)"
        case .read: return "read"
        case .putNode(let id, let record, let hold):
            return "put \(id) \(RecordCoding.address(record)?.description ?? "?") under \(hold.id)"
        case .putLeader(let record, let version, let hold):
            let leader = RecordCoding.leader(record)
            let cluster = leader?.clusterID ?? "none"
            let replaced = version.map(String.init) ?? "unset"
            return "put leader \(leader?.nodeID ?? "?") of \(cluster) replacing \(replaced) under \(hold.id)"
        }
    }

    /// A run of a claim against a store that is the test.
    mutating func claim(_ clusterID: String?, _ script: [(String, KeeperCore.Answer)]) throws -> [String] {
        var progress = try core.beginClaim(of: clusterID)
        var steps: [String] = []
        var answers = script[...]
        while true {
            switch core.next(in: progress, now: now) {
            case .perform(let request):
                steps.append(Self.text(request))
                guard let (wanted, answer) = answers.popFirst(), wanted == steps.last else { return steps }
                core.finished(request, answer, in: &progress, sent: now, now: now)
            case .decided(.held(let until)):
                return steps + ["held for \(now.duration(to: until).inMilliseconds)"]
            case .decided(.taken(let record)): return steps + ["taken by \(record.nodeID)"]
            case .failed(let error): return steps + ["failed: \(error)"]
            case .blocked(let problem): return steps + ["blocked: \(problem.kind)"]
            }
        }
    }
}

extension DiscoveryAnnouncement {
    static func example(
        _ id: String = "n1", cluster: String? = nil, leads term: UInt64? = nil, port: UInt16 = 8800
    ) -> DiscoveryAnnouncement {
        let address = HostPort(host: "192.0.2.1", port: port)
        return DiscoveryAnnouncement(
            node: NodeRecord(
                nodeID: id, apiAddress: HostPort(host: "192.0.2.1", port: 9900), address: address, name: "one",
                clusterID: cluster, clusterName: "test"),
            leader: term.map {
                LeaderRecord(
                    nodeID: id, apiAddress: HostPort(host: "192.0.2.1", port: 9900), address: address,
                    clusterID: cluster, clusterName: "test", term: $0)
            })
    }
}

extension StoreSnapshot.Leader {
    /// What a leader, a claimant or rqlite (no hold, no cluster) wrote.
    static func example(
        _ id: String, of cluster: String?, term: UInt64? = 0, under hold: String?, version: UInt64 = 7,
        port: UInt16 = 8800
    ) -> StoreSnapshot.Leader {
        let record = DiscoveryAnnouncement.LeaderRecord(
            nodeID: id, apiAddress: HostPort(host: "192.0.2.1", port: 9900),
            address: HostPort(host: "192.0.2.1", port: port), clusterID: cluster,
            clusterName: "test", term: term)
        return StoreSnapshot.Leader(record: RecordCoding.encode(record), version: version, holdID: hold)
    }
}

extension DiscoveryError {
    static let away = DiscoveryError(.unreachable, "nobody there")
    static let denied = DiscoveryError(.refused, "permission denied")
}
