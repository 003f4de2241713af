/// The numbers of a status in the text format of Prometheus, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
struct MetricsText: CustomStringConvertible {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var description = ""

    init(_ report: StatusReport) {
        one(
            "info", "gauge", "The running daemon.", 1,
            [
                "version": report.version, "cluster": report.clusterName, "node": report.name, "node_id": report.nodeID,
            ])
        one("uptime_seconds", "gauge", "Age of the daemon.", Double(report.uptimeSeconds))
        one("formed", "gauge", "Whether the node belongs to a formed cluster.", report.state == .formed ? 1 : 0)
        one("has_leader", "gauge", "Whether a leader is known.", report.leaderID == 0 ? 0 : 1)
        one("is_leader", "gauge", "Whether this node leads.", report.isLeader ? 1 : 0)
        one("raft_term", "gauge", "The raft term as this node knows it.", Double(report.term))
        one(
            "warnings", "gauge", "Things that an operator should look at; see the status.",
            Double(report.warnings.count))
        let roles = [MemberRole.voter, .standBy, .spare]
        many(
            "members", "gauge", "Members of the cluster.", "role",
            roles.map { role in (role.rawValue, Double(report.clusterMembers.count { $0.role == role })) })
        one("holds_vip", "gauge", "Whether this node has a virtual address.", report.holdsVIP ? 1 : 0)
        many(
            "address_held", "gauge", "Whether this node has the address.", "address",
            report.addresses.map { ($0.address, $0.state == "held" ? 1 : 0) })
        if let failures = report.failuresSurvived {
            one("failures_survived", "gauge", "Voters that may fail at once, now.", Double(failures))
        }
        let reachable = report.clusterMembers.filter { $0.isReachable != nil }
        if !reachable.isEmpty {
            many(
                "member_reachable", "gauge", "Whether a member answers the leader.", "address",
                Dictionary(reachable.map { ($0.address, $0.isReachable == true ? 1.0 : 0) }) { first, _ in first })
        }
        if let free = report.dataFreeBytes {
            one(
                "data_free_bytes", "gauge",
                "What the file system of the data directory has left; below 25165824 the node does "
                    + "not lead.", Double(free))
        }
        if let failover = report.failover { add(failover) }
    }

    private mutating func add(_ report: FailoverReport) {
        one(
            "lease_remaining_seconds", "gauge", "How long the lease of this node lasts from now on; 0 without one.",
            (report.leaseRemaining ?? 0) / 1000)
        one("leases_total", "counter", "Leases that began.", Double(report.leases))
        many("leases_lost_total", "counter", "Leases that ended.", "reason", report.leasesLost)
        many(
            "elections_started_total", "counter",
            "Elections begun because the leader was lost, before raft's own timer.",
            "reason", report.elections)
        one(
            "unreadable_streams", "gauge", "Raft streams that pass without being understood; then there are no leases.",
            Double(report.unreadableStreams))
        one("takeovers_total", "counter", "Take-overs of the addresses by this node.", Double(report.takeovers.count))
        many(
            "takeover_seconds_total", "counter", "Time that the take-overs took, by phase.", "phase",
            report.takeovers.sums.mapValues { $0 / 1000 })
        many(
            "last_takeover_seconds", "gauge", "Time that the last take-over took, by phase.", "phase",
            (report.takeovers.last?.phases ?? [:]).mapValues { $0 / 1000 })
        let addresses = report.addresses
        one("address_claims_total", "counter", "Addresses set by take-over.", Double(addresses.claims))
        many("address_releases_total", "counter", "Addresses given up.", "reason", addresses.releases)
        one(
            "addresses_reinstated_total", "counter", "Addresses set again after somebody had removed them.",
            Double(addresses.reinstated))
        one("address_conflicts_total", "counter", "Addresses that somebody else had set.", Double(addresses.conflicts))
        one("announcements_total", "counter", "Announcements to the neighbours.", Double(addresses.announcements))
        one(
            "neighbours_told_total", "counter", "Frames to single neighbours that said where an address is.",
            Double(addresses.neighboursTold))
        one("address_errors_total", "counter", "Failures of kernel, guard and announcements.", Double(addresses.errors))
    }

    private mutating func one(
        _ name: String, _ type: String, _ help: String, _ value: Double, _ labels: KeyValuePairs<String, String> = [:]
    ) {
        head(name, type, help)
        line(name, labels.map { ($0.key, $0.value) }, value)
    }

    private mutating func many(
        _ name: String, _ type: String, _ help: String, _ label: String, _ values: [String: UInt64]
    ) {
        many(name, type, help, label, values.mapValues { Double($0) })
    }

    private mutating func many(
        _ name: String, _ type: String, _ help: String, _ label: String, _ values: [String: Double]
    ) {
        many(name, type, help, label, values.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    }

    private mutating func many(
        _ name: String, _ type: String, _ help: String, _ label: String, _ values: [(String, Double)]
    ) {
        guard !values.isEmpty else { return }
        head(name, type, help)
        for (key, value) in values { line(name, [(label, key)], value) }
    }

    private mutating func head(_ name: String, _ type: String, _ help: String) {
        description += "# HELP dqlite_vip_\(name) \(help)\n# TYPE dqlite_vip_\(name) \(type)\n"
    }

    private mutating func line(_ name: String, _ labels: [(String, String)], _ value: Double) {
        let text = labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",")
        // Seconds to the microsecond.
        let rounded = (value * 1e6).rounded() / 1e6
        let number = rounded == rounded.rounded() && abs(rounded) < 1e15 ? "\(Int64(rounded))" : "\(rounded)"
        description += "dqlite_vip_\(name)\(text.isEmpty ? "" : "{\(text)}") \(number)\n"
    }

    /// The value of a label: backslash, quote and line feed are escaped, and all else is as it is. By scalars: `"\r\n"`, or a quote
    /// with a combining accent, is one `Character`, and not the one that would be looked for.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        escaped.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
