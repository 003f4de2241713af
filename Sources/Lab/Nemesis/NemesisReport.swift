import Glibc
import Platform

/// What a run of the suite showed, as a page.
public struct NemesisReport: Sendable {
    public var seed: UInt64
    public var machine: String
    public var binary: String
    /// Of the VIP.
    public var family: IPAddress.Family
    public var rounds: [NemesisRound] = []

    public init(seed: UInt64, binary: String, family: IPAddress.Family = .v4) {
        self.family = family
        self.seed = seed
        self.binary = binary
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        machine = "Linux \(release), \(sysconf(Int32(_SC_NPROCESSORS_ONLN))) processors"
    }

    public var failures: [NemesisRound] { rounds.filter { !$0.findings.isEmpty } }

    /// In Markdown.
    public var page: String {
        """
        # Nemesis report

        \(rounds.count) rounds of \(cases.count) cases, \(failures.count) with findings. First seed \(seed). \(machine).
        Program: `\(binary)`. The VIP is an \(family == .v4 ? "IPv4" : "IPv6") address.

        Nodes are network namespaces of one host on one bridge; the observer is none of them. All times are milliseconds,
        min/median/p99/max over the rounds; p99 of fewer than 100 rounds is the maximum. *Takeover*: from the fault to the
        client's first answer of another node (– where the address did not move). *Outage*: the client's longest time
        without an answer, asked every millisecond, until everything was well again, and where it has a limit until
        everything was put right; *on healing*: the same from the moment
        at which all was put right. *Nobody*: the longest time in which no kernel had the address. *Two holders*: the
        longest time in which two had, in brackets for planned hand-overs; *unheard* where the one is the kernel of a host that
        was cut off and had lost daemon and guard before anybody could hear that, *severed* where daemon and guard were killed
        in the middle of a planned hand-over (DOC/SAFETY.md). *Connections*: how often a client lost the TCP
        connection to the VIP on which it asks every 20 ms, at most in a round; a move of the address costs one. Rounds with writes are not measured but audited:
        two clients write every 20 ms throughout, in half of them to a register (`PUT /vip`), in half to a set (`PUT /v1/vip`
        with `If-Match`), and what was acknowledged must be there.

        | case | rounds | failed | takeover | outage | on healing | nobody | two holders | connections | well again after |
        |---|---|---|---|---|---|---|---|---|---|
        \(cases.map(row).joined(separator: "\n"))

        \(list)
        """
    }

    private var cases: [NemesisCase] {
        NemesisCase.allCases.filter { trouble in rounds.contains { $0.trouble == trouble } }
    }

    private func row(_ trouble: NemesisCase) -> String {
        let mine = rounds.filter { $0.trouble == trouble }
        func column(_ value: (NemesisRound) -> Duration?) -> String {
            Distribution(mine.compactMap(value)).map(\.withPercentile) ?? "–"
        }
        let overlap = mine.map(\.overlap).max() ?? .zero
        let planned = mine.map(\.plannedOverlap).max() ?? .zero
        let unheard = mine.map(\.unheardOverlap).max() ?? .zero
        let severed = mine.map(\.severedOverlap).max() ?? .zero
        let limit = trouble.outageLimit.map { ", limit \($0.inWords)" } ?? ""
        let holders =
            overlap.inWords + (planned > .zero ? " (\(planned.inWords))" : "")
            + (unheard > .zero ? ", unheard \(unheard.inWords)" : "")
            + (severed > .zero ? ", severed \(severed.inWords)" : "")
        let failed = mine.count { !$0.findings.isEmpty }
        let disturbed = mine.count(where: \.isDisturbed)
        let cells = [
            "`\(trouble.rawValue)`: \(trouble.summary)",
            "\(mine.count)" + (disturbed > 0 ? ", \(disturbed) disturbed" : ""), failed == 0 ? "0" : "**\(failed)**",
            column(\.takeover), column(\.outage) + limit, column(\.outageOnHealing), column(\.vacancy), holders,
            mine.compactMap(\.connectionsLost).max().map { "\($0)" } ?? "–",
            column(\.recovery),
        ]
        return "| " + cells.joined(separator: " | ") + " |"
    }

    private var list: String {
        let writes = rounds.filter { $0.writes != nil }
        let acknowledged = writes.map(\.acknowledged).reduce(0, +)
        let unknown = writes.map(\.unknown).reduce(0, +)
        var lines = [
            "Writes: \(acknowledged) acknowledged and \(unknown) without an answer in \(writes.count) rounds.", "",
            "## Findings", "",
        ]
        if failures.isEmpty { lines.append("None.") }
        for round in failures {
            lines.append(
                "- `\(round.trouble.rawValue)`, seed \(round.seed)\(round.writes.map { ", with writes to a \($0)" } ?? ""), the holder "
                    + "was node \(round.holder): "
                    + round.story)
            for finding in round.findings { lines.append("  - \(finding)") }
            let command =
                "nemesis --case \(round.trouble.rawValue) --seed \(round.seed) --rounds 1\(family == .v6 ? " --ipv6" : "")"
            lines.append("  - again: `dqlite-vip-lab \(command)\(round.writes == nil ? "" : " --writes")`")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension Distribution {
    /// "min/median/p99/max" in milliseconds.
    public var withPercentile: String {
        [minimum, median, percentile99, maximum].map(\.inWords).joined(separator: "/")
    }
}
