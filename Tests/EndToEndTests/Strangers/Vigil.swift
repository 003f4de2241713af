import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

/// What a cluster was when a stranger began, to be compared with what it is when the stranger has done its worst.
struct Vigil {
    let lab: LabCluster
    let before: LabCluster.Formation
    private let guards: [pid_t?]
    private let daemons: [pid_t?]
    private let tables: [String]
    private let prober: Prober
    let start: BootInstant

    /// How long the client of the VIP, which asks each millisecond, may be without an answer when nothing has happened.
    ///
    /// Twice what the laboratory grants to all that is to interrupt nobody (`NemesisCase.outageLimit`): the attackers share the processors
    /// with the nodes. No fail-over hides in it, as lead, term and holder are compared, too. Time in which the client itself did not
    /// run is not counted.
    static let nothing: Duration = .milliseconds(40)

    /// The most memory that a daemon may have had at any moment, in MiB. DQLITE_VIP_LAB_MEMORY for another number: a binary
    /// with a sanitizer needs several times as much for the same.
    static let memory: Int = {
        let text = ProcessInfo.processInfo.environment["DQLITE_VIP_LAB_MEMORY"]
        return text.flatMap { Int($0) } ?? 100
    }()

    /// Begins when the cluster is at rest.
    init(_ lab: LabCluster) async throws {
        self.lab = lab
        _ = try await lab.settled(for: .milliseconds(500))
        before = try await lab.formation()
        // The first rosters have been round.
        for node in lab.nodes { try await node.nodes("one failure survived") { $0.failuresSurvived == 1 } }
        guards = lab.nodes.map(\.guardPID)
        daemons = lab.nodes.map(\.daemonPID)
        tables = try await Self.tables(lab)
        for case let daemon? in daemons { try ProcessTable.forgetPeak(of: daemon) }
        prober = try lab.startProbe()
        prober.forget()
        start = BootClock.now
    }

    /// What people are shown of the cluster at each node.
    private static func tables(_ lab: LabCluster) async throws -> [String] {
        var texts: [String] = []
        for node in lab.nodes {
            for command in [["vip", "get"], ["node", "list"]] {
                let result = try await node.command(command)
                texts.append("node \(node.number), \(command.joined(separator: " ")): \(result.text)")
            }
        }
        return texts
    }

    /// Nothing has happened: who led leads, in the same term, nobody has died, nothing has grown, nothing has changed, and the client of
    /// the VIP has missed nothing.
    func nothingHappened(_ what: String = "", sourceLocation: SourceLocation = #_sourceLocation) async throws {
        // The answers that were on their way.
        let end = BootClock.now
        try await eventually("an answer after the end", within: .seconds(5)) {
            (prober.lastReply?.sentAt ?? start) > end
        }
        clientMissedNothing(until: end, what, sourceLocation)
        nobodyDied(what, sourceLocation)
        nothingGrew(what, sourceLocation)
        let after = try await lab.formation()
        #expect(after.leader == before.leader, "\(what): the lead went to another", sourceLocation: sourceLocation)
        #expect(after.members == before.members, "\(what)", sourceLocation: sourceLocation)
        for node in lab.nodes {
            let (old, new) = (before.statuses[node.number]?.term, after.statuses[node.number]?.term)
            #expect(old == new, "\(what): the term of node \(node.number)", sourceLocation: sourceLocation)
        }
        #expect(lab.witness.holders(of: lab.vip) == [before.leader], "\(what)", sourceLocation: sourceLocation)
        let intervals = lab.witness.timeline.intervals(of: lab.vip)
        #expect(intervals.count == 1, "\(what): the address was moved or let go", sourceLocation: sourceLocation)
        let tables = try await Self.tables(lab)
        #expect(tables == self.tables, "\(what)", sourceLocation: sourceLocation)
    }

    /// Every question until `end` was answered, and none of them late.
    private func clientMissedNothing(until end: BootInstant, _ what: String, _ place: SourceLocation) {
        let record = prober.record
        let view = FailoverView(record, fault: start, end: end, lead: .zero)
        let text =
            "\(what): no answer for \(view.outage.inWords) ms, the client itself stood still for \(view.stall.inWords) ms"
        print(text)
        #expect(!view.exceeds(Self.nothing), "\(text)", sourceLocation: place)
        let answered = Set(record.replies.map(\.sentAt))
        let lost = record.questions.count { $0 <= end && !answered.contains($0) }
        #expect(lost == 0, "\(what): questions without an answer", sourceLocation: place)
        #expect(record.refused == 0, "\(what): questions that the client's own kernel refused", sourceLocation: place)
    }

    /// The processes are the same: not even the guard has started a daemon anew.
    func nobodyDied(_ what: String = "", _ place: SourceLocation = #_sourceLocation) {
        #expect(lab.nodes.map(\.guardPID) == guards, "\(what): a guard has died", sourceLocation: place)
        #expect(lab.nodes.map(\.daemonPID) == daemons, "\(what): a daemon has died", sourceLocation: place)
    }

    /// No daemon ever had more memory than it may.
    func nothingGrew(_ what: String = "", _ place: SourceLocation = #_sourceLocation) {
        for node in lab.nodes {
            // One that has died is said elsewhere.
            guard let peak = node.daemonPID.flatMap({ ProcessTable.peakMemory(of: $0) }) else { continue }
            print("\(what): node \(node.number) had \(peak / 1024) MiB at most")
            #expect(
                peak < Self.memory * 1024, "\(what): node \(node.number) had \(peak / 1024) MiB", sourceLocation: place)
        }
    }
}

/// A cluster of three with the VIP held, a stranger on its wire, and a vigil that has begun.
func withStranger(
    mayCrash: Bool = false, _ body: (LabCluster, Stranger, Vigil) async throws -> Void
) async throws {
    try await withCluster(mayCrash: mayCrash) { lab, _ in
        try await body(lab, Stranger(lab), Vigil(lab))
    }
}
