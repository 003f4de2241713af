import Logging
import Platform

/// One event of the log as bytes, ending with the only line feed in them. Pure: the same event gives the same bytes.
struct LogLine {
    /// What stands before the message.
    enum Prefix: Hashable, Sendable {
        /// Time and level, for a terminal or a file.
        case time
        /// `<n>` as sd-daemon(3) has it: journald takes the level from it, and has the time itself.
        case priority
    }

    /// A message or value is cut beyond this many bytes, so that a line stays below journald's LineMax (48 KiB) in any
    /// sensible case.
    static let longestText = 8 << 10

    var time: WallTime
    var level: Logger.Level
    var label: String
    var message: String
    var metadata: Logger.Metadata

    /// `2026-11-21T06:31:00.250Z notice cluster: the cluster has formed cluster.id=… raft.term=1`
    func text(_ prefix: Prefix) -> [UInt8] {
        var line =
            switch prefix {
            case .time: "\(time) \(level.rawValue) "
            case .priority: "<\(level.syslogPriority)>"
            }
        Self.append(label, to: &line, quote: nil)
        line += ": "
        Self.append(message, to: &line, quote: nil)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " "
            Self.append(key, to: &line, quote: nil)
            line += "="
            let text = "\(value)"
            if text.isEmpty || text.unicodeScalars.contains(where: Self.needsQuotes) {
                line += "\""
                Self.append(text, to: &line, quote: "\"")
                line += "\""
            } else {
                Self.append(text, to: &line, quote: nil)
            }
        }
        line += "\n"
        return Array(line.utf8)
    }

    /// `{"time":"…","level":"notice","label":"cluster","message":"…","metadata":{"raft.term":1}}`
    func json() -> [UInt8] {
        var line = #"{"time":"\#(time)","level":"\#(level.rawValue)","label":"#
        Self.appendJSON(label, to: &line)
        line += #","message":"#
        Self.appendJSON(message, to: &line)
        if !metadata.isEmpty {
            line += #","metadata":"#
            Self.appendJSON(.dictionary(metadata), to: &line)
        }
        line += "}\n"
        return Array(line.utf8)
    }

    /// Looked at by scalars: with a combining accent behind it, a blank or a quote is another `Character`.
    private static func needsQuotes(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case " ", "\"", "=": true
        default: false
        }
    }

    private static func append(_ text: String, to line: inout String, quote: Unicode.Scalar?) {
        var bytes = 0
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            if bytes > longestText {
                line += "…[cut]"
                return
            }
            switch scalar {
            case "\\" where quote != nil: line += "\\\\"
            case _ where scalar == quote: line += "\\\""
            default:
                if let escaped = scalar.escapedForLines { line += escaped } else { line.unicodeScalars.append(scalar) }
            }
        }
    }

    /// RFC 8259 section 7, and what upsets terminals escaped as well: people read these lines too.
    private static func appendJSON(_ text: String, to line: inout String) {
        line += "\""
        var bytes = 0
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            if bytes > longestText {
                line += "…[cut]"
                break
            }
            switch scalar {
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case _ where scalar.upsetsTerminals: line += scalar.escapedForJSON
            default: line.unicodeScalars.append(scalar)
            }
        }
        line += "\""
    }

    private static func appendJSON(_ value: Logger.MetadataValue, to line: inout String) {
        switch value {
        case .string(let text):
            appendJSON(text, to: &line)
        case .stringConvertible(let convertible):
            switch convertible {
            case let number as any BinaryInteger: line += "\(number)"
            case let flag as Bool: line += flag ? "true" : "false"
            case let number as Double where number.isFinite: line += "\(number)"
            default: appendJSON("\(convertible)", to: &line)
            }
        case .array(let elements):
            line += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { line += "," }
                appendJSON(element, to: &line)
            }
            line += "]"
        case .dictionary(let fields):
            line += "{"
            for (index, field) in fields.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { line += "," }
                appendJSON(field.key, to: &line)
                line += ":"
                appendJSON(field.value, to: &line)
            }
            line += "}"
        }
    }
}

extension Logger.Level {
    /// syslog(3)'s number for the level.
    fileprivate var syslogPriority: Int {
        switch self {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
    }
}
