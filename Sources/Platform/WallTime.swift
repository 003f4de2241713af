import Glibc

/// A moment of the calendar, for people only: logs, status, "last contact". Never for leases or deadlines: it jumps.
///
/// Its text, also in JSON, is RFC 3339 in UTC with milliseconds: `2026-11-21T06:31:00.250Z`.
public struct WallTime: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted; see time(7).
    public var milliseconds: Int64

    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    public static var now: WallTime {
        var time = timespec()
        // clock_gettime with a constant, valid clock id and a valid pointer cannot fail.
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// Parses what `description` writes, with or without the fraction; nil for anything else.
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int32? {
            var value: Int32 = 0
            for byte in bytes[range] {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                value = value * 10 + Int32(byte - UInt8(ascii: "0"))
            }
            return value
        }
        guard bytes.count == 20 || bytes.count == 24, bytes.last == UInt8(ascii: "Z"),
            zip([4, 7, 10, 13, 16], "--T::".utf8).allSatisfy({ bytes[$0] == $1 }),
            let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 61
        else { return nil }
        var fraction: Int32 = 0
        if bytes.count == 24 {
            guard bytes[19] == UInt8(ascii: "."), let milliseconds = number(20..<23) else { return nil }
            fraction = milliseconds
        }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, month - 1, day)
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
        milliseconds = Int64(timegm(&parts)) * 1000 + Int64(fraction)
    }

    public static func < (lhs: WallTime, rhs: WallTime) -> Bool { lhs.milliseconds < rhs.milliseconds }

    public var description: String {
        let (seconds, remainder) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        var time = time_t(remainder < 0 ? seconds - 1 : seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func padded(_ value: Int64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = [(parts.tm_year + 1900, 4), (parts.tm_mon + 1, 2), (parts.tm_mday, 2)]
        let clock = [(parts.tm_hour, 2), (parts.tm_min, 2), (parts.tm_sec, 2)]
        return date.map { padded(Int64($0), $1) }.joined(separator: "-") + "T"
            + clock.map { padded(Int64($0), $1) }.joined(separator: ":")
            + "." + padded(remainder < 0 ? remainder + 1000 : remainder, 3) + "Z"
    }
}

extension WallTime: TextCodable {
    public init(codedText text: String) throws {
        guard let time = WallTime(text) else {
            throw NotTheText(text: text, expected: "an RFC 3339 time in UTC")
        }
        self = time
    }
}
