/// One value of a parameter list or a result row.
public enum DqliteValue: Hashable, Sendable {
    case integer(Int64)
    case float(Double)
    /// As a parameter it must not contain NUL; a NUL inside a stored text ends it when it is read.
    case text(String)
    case blob([UInt8])
    case null
    case boolean(Bool)
    /// Only in answers: seconds since 1970, from a column declared DATETIME, DATE or TIMESTAMP.
    case unixTime(Int64)
    /// Only in answers: a text from such a column; empty also for NULL.
    case iso8601(String)
}

/// The answer to a query.
public struct DqliteRows: Hashable, Sendable {
    /// The names of the columns.
    public var columns: [String]
    /// The rows; each has one value per column.
    public var rows: [[DqliteValue]]

    public init(columns: [String], rows: [[DqliteValue]]) {
        self.columns = columns
        self.rows = rows
    }
}

extension DqliteValue {
    /// The number, for an integer, a boolean or a time; else nil.
    public var integerValue: Int64? {
        switch self {
        case .integer(let value), .unixTime(let value): value
        case .boolean(let value): value ? 1 : 0
        case .float, .text, .blob, .null, .iso8601: nil
        }
    }

    /// The text, for a text or an ISO 8601 time; else nil.
    public var textValue: String? {
        switch self {
        case .text(let value), .iso8601(let value): value
        case .integer, .float, .blob, .null, .boolean, .unixTime: nil
        }
    }
}

extension DqliteValue: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .float(value) }
    public init(stringLiteral value: String) { self = .text(value) }
    public init(booleanLiteral value: Bool) { self = .boolean(value) }
    public init(nilLiteral: ()) { self = .null }
}
