import Platform

/// One cluster formed from nothing, and what became of a hand-over to a named voter soon after.
public struct FormationTrial: Equatable, Sendable {
    /// What the kernels and the client say.
    public enum Outcome: Equatable, Sendable {
        /// The node that was named has the address.
        case meant
        /// The node that had the address has it still, and the answer says why.
        case refused
        /// A third node has it, or the old one although the answer was that it was handed over.
        case elsewhere
        /// No node, or more than one, in the end.
        case nobody
    }

    public var number: Int
    /// From the first answer of the address to the request.
    public var moment: Duration
    public var outcome: Outcome
    /// What the request was answered with when it was no 200; nil for 200.
    public var reason: String?
    /// The client's longest time without an answer, from the request on.
    public var outage: Duration
    /// The longest time in which no node had the address.
    public var vacancy = Duration.zero
    /// The longest time in which two had it that may not: not the giver and the named one, or those for longer than 100 ms.
    public var forbidden = Duration.zero
    /// From the start of the nodes until the address answered.
    public var formation = Duration.zero
    /// Errors and crashes from the logs.
    public var bad: [String] = []

    /// Nobody had the address for longer than a hand-over may take to be noticed.
    public static let longestVacancy: Duration = .milliseconds(100)

    /// Whether something happened that must not.
    public var isBad: Bool {
        outcome == .elsewhere || outcome == .nobody || vacancy > Self.longestVacancy || forbidden > .milliseconds(1)
            || !bad.isEmpty
    }

    /// - Parameters:
    ///   - status: of the answer, 200 when the lead was handed over; nil when none came.
    ///   - holders: who has the address in the end.
    public static func outcome(
        status: Int?, holders: [Int], giver: Int, named: Int
    ) -> Outcome {
        guard let holder = holders.first, holders.count == 1 else { return .nobody }
        if holder == named { return .meant }
        return holder == giver && status != 200 ? .refused : .elsewhere
    }

    /// The longest of the overlaps that may not be.
    public static func forbidden(_ overlaps: [Timeline.Overlap], giver: Int, named: Int) -> Duration {
        overlaps.filter { $0.nodes != [giver, named] || $0.length > NemesisBounds().plannedOverlap }.map(\.length).max()
            ?? .zero
    }
}

/// Many such trials of one program.
public struct FormationTally: Sendable {
    public var binary: String
    public private(set) var trials: [FormationTrial] = []

    public init(binary: String) {
        self.binary = binary
    }

    public mutating func add(_ trial: FormationTrial) { trials.append(trial) }

    public var isBad: Bool { trials.contains(where: \.isBad) }

    public func count(_ outcome: FormationTrial.Outcome) -> Int { trials.count { $0.outcome == outcome } }

    /// How often each reason was given, addresses, ids and times taken out; the most frequent first.
    public func reasons(of outcome: FormationTrial.Outcome) -> [(reason: String, count: Int)] {
        var counts: [String: Int] = [:]
        for trial in trials where trial.outcome == outcome {
            if let reason = trial.reason { counts[Self.general(reason), default: 0] += 1 }
        }
        return counts.map { ($0.key, $0.value) }.sorted { ($1.count, $0.reason) < ($0.count, $1.reason) }
    }

    /// A text with N in the place of every number, address and id.
    static func general(_ text: String) -> String {
        var general = ""
        for (character, next) in zip(text, text.dropFirst().map { $0 } + [" "]) {
            let isInside = general.hasSuffix("N") && ".:".contains(character) && next.isNumber
            if !character.isNumber && !isInside {
                general.append(character)
            } else if !general.hasSuffix("N") {
                general.append("N")
            }
        }
        return general
    }

    /// For a person; times in milliseconds.
    public var text: String {
        func times(_ value: (FormationTrial) -> Duration, _ isCounted: (FormationTrial) -> Bool = { _ in true })
            -> String
        {
            Distribution(trials.filter(isCounted).map(value))?.withPercentile ?? "–"
        }
        func list(_ outcome: FormationTrial.Outcome) -> [String] {
            reasons(of: outcome).map { "    \($0.count) × \($0.reason)" }
        }
        let empty = trials.count { $0.vacancy > FormationTrial.longestVacancy }
        var lines = [
            "\(trials.count) formations, \(binary); milliseconds, min/median/p99/max",
            "  until the address answers: \(times(\.formation))",
            "  to whom it was meant for: \(count(.meant)), outage \(times(\.outage) { $0.outcome == .meant })",
        ]
        lines += list(.meant)
        lines.append("  refused: \(count(.refused)), outage \(times(\.outage) { $0.outcome == .refused })")
        lines += list(.refused)
        lines.append("  elsewhere: \(count(.elsewhere)), outage \(times(\.outage) { $0.outcome == .elsewhere })")
        lines += list(.elsewhere)
        lines.append("  nobody in the end: \(count(.nobody))")
        lines += list(.nobody)
        lines.append(
            "  outage of all: \(times(\.outage)); over 20 ms: \(trials.count { $0.outage > .milliseconds(20) })")
        lines.append(
            "  nobody had the address: \(times(\.vacancy)); over \(FormationTrial.longestVacancy.inWords) ms: \(empty)")
        lines.append(
            "  two had it that may not: \(trials.count { $0.forbidden > .milliseconds(1) }), "
                + "for \(trials.map(\.forbidden).max()?.inWords ?? "0") ms at most")
        for trial in trials where !trial.bad.isEmpty {
            lines.append("  formation \(trial.number): \(trial.bad.joined(separator: "; "))")
        }
        return lines.joined(separator: "\n")
    }
}
