import Glibc
import Platform

extension NemesisRunner {
    /// Reckons what client and kernels saw, and compares it with the bounds.
    func judge(
        _ round: inout NemesisRound, start: BootInstant, healed: BootInstant, end: BootInstant, _ record: ProbeRecord
    ) {
        let (lab, deeds) = (nemesis.lab, nemesis.deeds)
        let timeline = lab.witness.timeline
        for address in timeline.addresses.subtracting(lab.ownAddresses) {
            for overlap in timeline.overlaps(of: address, from: start, to: end, absent: deeds.powerless) {
                var meaning = deeds.meaning(of: overlap)
                if let death = deeds.death(in: overlap) {
                    let reasons = overlap.nodes.subtracting([death.node]).sorted()
                        .map { LogMarks.reasonOfLastTakeover(nemesis.lab[$0].logText) ?? "unknown" }
                    // Elected because of the death, and not told by the one that died.
                    if meaning == .severed && reasons.contains(where: { $0 != "transferred" }) { meaning = .forbidden }
                    round.remarks.append(
                        "node \(death.node) was killed, and the other had the address "
                            + "\(death.time.duration(to: overlap.start).inWords) ms after that, for \(overlap.length.inWords) ms; "
                            + "why, by its own word: \(reasons.joined(separator: ", "))")
                }
                if meaning == .forbidden, isGivenByItself(overlap, deeds) {
                    meaning = .planned
                    round.remarks.append("a node handed over by itself, and both had the address meanwhile")
                }
                round.note(overlap.length, meaning)
                let bound =
                    switch meaning {
                    case .forbidden: bounds.overlap
                    case .planned: bounds.plannedOverlap
                    case .severed: bounds.severedOverlap
                    case .unheard: bounds.unheardOverlap
                    }
                if overlap.length > bound {
                    round.findings.append(
                        "two holders: \(address) was on nodes \(overlap.nodes.sorted()) for "
                            + "\(overlap.length.inWords) ms, from \(start.duration(to: overlap.start).inWords) ms on"
                            + (meaning == .planned ? " in a planned hand-over" : ""))
                }
            }
        }
        if lab.witness.overruns > 0 {
            round.findings.append("the witness missed events: its timeline is worth nothing")
        }
        if round.writes == nil {
            measure(&round, timeline, deeds, start: start, healed: healed, end: end, record)
        }
    }

    /// A leader that cannot bring a voter up to date gives the lead away, without anybody asking for it: then the one of the two that
    /// has it now says that it was given to it, and nobody had been stopped or killed.
    private func isGivenByItself(_ overlap: Timeline.Overlap, _ deeds: NemesisLab.Record) -> Bool {
        let isTouched = deeds.lifeless.contains { overlap.nodes.contains($0.node) }
        let logs = overlap.nodes.map { nemesis.lab[$0].logText }
        return !isTouched && logs.contains { LogMarks.reasonOfLastTakeover($0) == "transferred" }
            && logs.contains { $0.contains("the lead was handed over") }
    }

    private func measure(
        _ round: inout NemesisRound, _ timeline: Timeline, _ deeds: NemesisLab.Record, start: BootInstant,
        healed: BootInstant, end: BootInstant, _ record: ProbeRecord
    ) {
        // What was before a round with a preparation is not judged.
        let lead = round.trouble.outageLimit == nil ? Duration.milliseconds(100) : .zero
        let view = FailoverView(record, fault: start, end: end, lead: lead)
        (round.takeover, round.outage, round.stall) = (view.takeover, view.outage, view.stall)
        if let limit = round.trouble.outageLimit {
            let planned = FailoverView(record, fault: start, end: healed, lead: lead)
            round.outage = planned.outage
            if planned.exceeds(limit) {
                round.findings.append(
                    "a client had no answer for \(planned.outage.inWords) ms, and what was planned may cost \(limit.inWords)"
                )
            }
        }
        let answers = record.replies.map(\.receivedAt).filter { $0 >= healed && $0 <= end }
        round.outageOnHealing = zip([healed] + answers, answers + [end]).map { $0.duration(to: $1) }.max()
        let vacancy = timeline.vacancy(of: nemesis.lab.vip, from: start, to: end, absent: deeds.powerless)
        round.vacancy = vacancy
        if round.trouble.keepsMajority && vacancy > bounds.vacancy {
            round.findings.append("nobody had the address for \(vacancy.inWords) ms, with a majority at hand")
        }
        let taker = record.replies.first { $0.node != round.holder && $0.sentAt >= start }
        if round.trouble.mustStay, let taker {
            round.findings.append(
                "the address went to node \(taker.node) after \(start.duration(to: taker.receivedAt).inWords) ms "
                    + "without need")
        }
    }

    /// Addresses and processes that nobody should have.
    func leftovers(_ holder: Int?) -> [String] {
        var findings: [String] = []
        for node in nemesis.lab.nodes {
            let expected = node.number == holder ? [nemesis.lab.vipText] : []
            if let holder, let addresses = try? nemesis.lab.network.foreignAddresses(ofNode: node.number),
                addresses != expected
            {
                findings.append(
                    "node \(node.number) has besides its own the addresses \(addresses), and node \(holder) the VIP")
            }
            findings += node.strangers + node.excesses
        }
        return findings
    }
}

/// How far the logs had come at some moment.
struct LogMarks {
    private let lengths: [Int]

    /// What libraries, the language's runtime and the kernel say when a program falls over.
    static let crashes = [
        "Fatal error", "Precondition failed", "Assertion", "Segmentation", "Crash:", "AddressSanitizer",
        "ThreadSanitizer", "double free", "stack smashing",
    ]

    init(_ lab: LabCluster) {
        lengths = lab.nodes.map(\.logText.utf8.count)
    }

    /// Lines since then that the trouble does not excuse: crashes, and what is logged at level error or critical.
    func findings(_ lab: LabCluster, expected: [String]) -> [String] {
        zip(lab.nodes, lengths).flatMap { node, length -> [String] in
            let text = String(decoding: node.logText.utf8.dropFirst(length), as: UTF8.self)
            let bad = text.split(separator: "\n").filter { line in
                Self.isBad(line) && !expected.contains { line.contains($0) }
            }
            return bad.prefix(5).map { "node \(node.number) logged: \($0)" }
        }
    }

    static func isBad(_ line: Substring) -> Bool {
        let level = line.split(separator: " ", maxSplits: 2).dropFirst().first
        return level == "error" || level == "critical" || crashes.contains { line.contains($0) } || tellsOfCrash(line)
    }

    /// Why a node took the address over the last time, by its log: "transferred", "dead", "silent", ...
    static func reasonOfLastTakeover(_ log: String) -> String? {
        let key = " takeover.reason="
        guard let line = log.split(separator: "\n").last(where: { $0.contains(key) }),
            let found = line.firstRange(of: key)
        else { return nil }
        return String(line[found.upperBound...].prefix { $0 != " " })
    }

    /// What the guard says of a daemon that the kernel ended.
    private static func tellsOfCrash(_ line: Substring) -> Bool {
        guard let words = line.firstRange(of: "was ended by signal ") else { return false }
        let number = Int32(line[words.upperBound...].prefix { $0.isNumber })
        return [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS].contains { $0 == number }
    }
}

extension NemesisRound {
    /// Keeps the longest of its kind.
    mutating func note(_ overlap: Duration, _ meaning: NemesisLab.Record.Meaning) {
        switch meaning {
        case .forbidden: self.overlap = max(self.overlap, overlap)
        case .planned: plannedOverlap = max(plannedOverlap, overlap)
        case .severed: severedOverlap = max(severedOverlap, overlap)
        case .unheard: unheardOverlap = max(unheardOverlap, overlap)
        }
    }
}
