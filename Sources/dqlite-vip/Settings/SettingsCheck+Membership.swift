import Cluster
import Platform

/// What `start` was told of roles, leaving and reaping.
extension SettingsCheck {
    private static let mostStandbys = 100
    private static let demoteTimes: ClosedRange<Duration> = .seconds(1) ... .seconds(86_400)
    /// Less than a reboot takes is never meant.
    private static let reapTimes: ClosedRange<Duration> = .seconds(1) ... .seconds(365 * 86_400)

    mutating func membership() -> MembershipOptions {
        var options = MembershipOptions()
        options.votersAreGiven = input[.voters] != nil
        options.standbys =
            number(.standbys, 0...Self.mostStandbys, "the number of stand-by nodes") ?? options.standbys
        if let text = input.text(.demoteAfter) {
            options.demoteAfter = time(.demoteAfter, text, text, Self.demoteTimes) ?? options.demoteAfter
        }
        options.reapAfter = reapAfter()
        if let reaping = options.reapAfter.voter, reaping < options.demoteAfter {
            fault(
                .reapAfter, input.text(.reapAfter) ?? "",
                "a voter would be removed before it is replaced (--demote-after): give a longer time")
        }
        options.failureDomain = failureDomain()
        options.leavesOnShutdown = flag(.leaveOnShutdown)
        options.rejoins = flag(.rejoin)
        return options
    }

    /// One time for all, or `voter=24h,standby=24h,spare=1h`.
    private mutating func reapAfter() -> MembershipOptions.ReapTimes {
        var times = MembershipOptions.ReapTimes()
        guard let text = input.text(.reapAfter) else { return times }
        let remedy = "give a time, like 24h, or times by role, like voter=24h,standby=24h,spare=1h"
        guard text.contains("=") else {
            let all = time(.reapAfter, text, text, Self.reapTimes)
            return .init(voter: all, standBy: all, spare: all)
        }
        var seen: Set<String> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let role = pair[0].lowercased() == "stand-by" ? "standby" : pair[0].lowercased()
            guard pair.count == 2, ["voter", "standby", "spare"].contains(role) else {
                fault(.reapAfter, text, "\"\(Self.printable(String(part)))\" is no role with a time: \(remedy)")
                continue
            }
            guard seen.insert(role).inserted else {
                fault(.reapAfter, text, "\(role) is given twice: leave one out")
                continue
            }
            guard let time = time(.reapAfter, text, String(pair[1]), Self.reapTimes) else { continue }
            switch role {
            case "voter": times.voter = time
            case "standby": times.standBy = time
            default: times.spare = time
            }
        }
        return times
    }

    private mutating func failureDomain() -> String? {
        guard let text = input.text(.failureDomain) else { return nil }
        guard SoundText.isName(text) else {
            fault(
                .failureDomain, text,
                "give a word, like rack-7: 1 to \(SoundText.mostBytes) of the characters a-z, A-Z, 0-9, dot, hyphen, underscore"
            )
            return nil
        }
        return text
    }

    private mutating func flag(_ key: StartInput.Key) -> Bool {
        choice(key, [("true", true), ("false", false), ("1", true), ("0", false), ("yes", true), ("no", false)])
            ?? false
    }

    /// - Parameter text: the whole value, of which `part` is the time.
    private mutating func time(
        _ key: StartInput.Key, _ text: String, _ part: String, _ range: ClosedRange<Duration>
    ) -> Duration? {
        guard let time = Duration(timeText: part) else {
            fault(
                key, text,
                "\"\(Self.printable(part))\" is no time: give a whole number with ms, s, min, h or d, like 30s or 24h")
            return nil
        }
        guard range.contains(time) else {
            fault(key, text, "give a time from \(range.lowerBound.timeText) to \(range.upperBound.timeText)")
            return nil
        }
        return time
    }
}

extension Duration {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("min", 60_000), ("m", 60_000), ("s", 1000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// A whole number with its unit: 500ms, 10s, 5min (or 5m), 24h, 7d.
    init?(timeText text: String) {
        guard let unit = Self.units.first(where: { text.hasSuffix($0.name) }) else { return nil }
        let digits = text.dropLast(unit.name.count)
        guard !digits.isEmpty, digits.allSatisfy({ ("0"..."9").contains($0) }), let number = Int64(digits) else {
            return nil
        }
        let (milliseconds, isTooLong) = number.multipliedReportingOverflow(by: unit.milliseconds)
        guard !isTooLong else { return nil }
        self = .milliseconds(milliseconds)
    }

    /// In the largest unit that divides it.
    var timeText: String {
        let milliseconds = inMilliseconds
        let unit =
            Self.units.filter { $0.name != "m" && milliseconds.isMultiple(of: $0.milliseconds) }
            .max { $0.milliseconds < $1.milliseconds }
        return unit.map { "\(milliseconds / $0.milliseconds)\($0.name)" } ?? "\(milliseconds)ms"
    }
}
