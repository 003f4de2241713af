import API

/// A status as a person reads it on a terminal.
struct StatusTable {
    private let report: StatusReport

    init(_ report: StatusReport) {
        self.report = report
    }

    var text: PrintableText {
        var rows: [[String]] = [["cluster", cluster], ["node", node], ["leader", leader], ["virtual IP", vip]]
        for address in report.addresses where address.address != report.vip || !address.detail.isEmpty {
            let since = address.since.map { " since \($0)" } ?? ""
            rows.append(["", ["\(address.address) \(address.state)\(since)", address.detail].joinedNonEmpty(": ")])
        }
        if let lease { rows.append(["lease", lease]) }
        if let takeover { rows.append(["take-over", takeover]) }
        if !report.waitingFor.isEmpty { rows.append(["waiting for", report.waitingFor]) }
        if let failures { rows.append(["survives", failures]) }
        rows.append(["discovery", discovery])
        rows += announcement.map { ["", $0] }
        rows.append(["daemon", "version \(report.version), up \(Self.age(report.uptimeSeconds))"])
        for (index, warning) in report.warnings.enumerated() { rows.append([index == 0 ? "warnings" : "", warning]) }

        let members = NodeTable.rows(report.clusterMembers, leader: report.leaderID, own: report.id)
        guard members.count > 1 else { return PrintableText(rows: rows) }
        return PrintableText(rows: rows) + "\n" + PrintableText(rows: members)
    }

    private var cluster: String {
        let id = report.clusterID.isEmpty ? "" : "id \(report.clusterID)"
        let term = report.term == 0 ? "" : "term \(report.term)"
        return ["\(report.clusterName): \(report.state)", id, term].joinedNonEmpty(", ")
    }

    private var node: String {
        let id = report.id == 0 ? "" : "id \(report.id)"
        return [report.name, report.address, id, report.nodeID].joinedNonEmpty(", ")
    }

    private var leader: String {
        if report.leaderID == 0 { return "none known" }
        if report.isLeader { return "this node" }
        return name(ofMember: report.leaderID)
    }

    /// How many voters may fail at once.
    private var failures: String? {
        guard let count = report.failuresSurvived else { return nil }
        return count == 0 ? "no failure of a voter" : "the failure of \(count) \(count == 1 ? "voter" : "voters")"
    }

    private var vip: String {
        if report.vip.isEmpty { return "none set (dqlite-vip vip set ADDRESS/PREFIX)" }
        if report.holdsVIP { return "\(report.vip), held by this node" }
        if report.isLeader { return "\(report.vip), not held: this node leads and has not taken it" }
        if report.leaderID == 0 { return "\(report.vip), held by no node: there is no leader" }
        return "\(report.vip), with the leader \(name(ofMember: report.leaderID))"
    }

    /// Of a node that leads: for how long it may hold the addresses if nobody extends that.
    private var lease: String? {
        guard report.isLeader, let failover = report.failover else { return nil }
        if let remaining = failover.leaseRemaining {
            return "\(Self.number(remaining)) ms left of \(Self.number(failover.timing.lease)), extended every "
                + "\(Self.number(failover.timing.heartbeat)) ms"
        }
        return report.clusterMembers.count { $0.role == .voter } == 1
            ? "not needed: this node is the only voter" : "none: no majority of the voters has confirmed that it leads"
    }

    /// Where the time of this node's last take-over went.
    private var takeover: String? {
        guard let last = report.failover?.takeovers.last else { return nil }
        let phases = ["detection", "election", "lease", "address", "announce"].compactMap { phase in
            last.phases[phase].map { "\(phase) \(Self.number($0))" }
        }
        let reason =
            switch last.reason {
            case "dead": "the leader's process was dead"
            case "silent": "the leader was silent"
            case "transferred": "the leader handed over"
            default: "raft's own timer"
            }
        let split = phases.isEmpty ? "" : " (\(phases.joined(separator: ", ")))"
        return "\(last.at), term \(last.term), \(reason): \(Self.number(last.total)) ms\(split)"
    }

    private static func number(_ milliseconds: Double) -> String {
        milliseconds < 100 ? "\((milliseconds * 10).rounded() / 10)" : "\(Int(milliseconds.rounded()))"
    }

    private var discovery: String {
        let found = report.discovery.lastAddresses.joined(separator: ", ")
        let contact = report.discovery.lastContact.map { "last answer \($0)" } ?? ""
        let error = report.discovery.lastError.map { "last error: \($0)" } ?? ""
        let mode = report.discovery.mode + (report.discovery.key.map { " (key \($0))" } ?? "")
        return [mode, found, contact, error].joinedNonEmpty("; ")
    }

    /// Whether this node can be found by the others: told while that matters most, and when it is not so.
    private var announcement: [String] {
        var lines: [String] = []
        switch report.discovery.isRegistered {
        case true? where report.state != .formed: lines.append("this node is registered there")
        case false?: lines.append("this node is not registered there: others cannot find it by this way")
        default: break
        }
        if let error = report.discovery.announceError { lines.append("registering: \(error)") }
        return lines
    }

    private func name(ofMember id: UInt64) -> String {
        guard let member = report.clusterMembers.first(where: { $0.id == id }) else { return "id \(id)" }
        return member.name.map { "\($0) (\(member.address))" } ?? member.address
    }

    /// A number of seconds in its two largest units.
    static func age(_ seconds: Int64) -> String {
        let parts = [
            (seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s"),
        ]
        let first = parts.firstIndex { $0.0 > 0 } ?? 3
        return parts[first...].prefix(2).map { "\($0.0) \($0.1)" }.joined(separator: " ")
    }
}

extension [String] {
    fileprivate func joinedNonEmpty(_ separator: String) -> String {
        filter { !$0.isEmpty }.joined(separator: separator)
    }
}
