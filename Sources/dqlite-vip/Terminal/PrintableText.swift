/// Text that a terminal shows as it is meant.
///
/// What stands literally in the source is taken as it is, line ends included. What is put in by `\(...)`, and every cell of a
/// table, may come from another node or from whoever answers at the API's address: in it whatever upsets terminals is
/// written out, so that it stays within its place, and what is longer than `longest` is cut. So a sentence cannot be written
/// in which that was forgotten.
struct PrintableText: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringInterpolation {
    /// How many scalars of one value are shown.
    static let longest = 4096
    /// The same of a cell that others stand behind.
    static let longestCell = 300
    /// Up to here a column grows with its cells. A longer cell pushes only what stands behind it.
    private static let widest = 80

    private(set) var description: String

    /// - Parameter literal: the product's own words.
    init(stringLiteral literal: String) { description = literal }

    init(stringInterpolation: StringInterpolation) { description = stringInterpolation.text }

    struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        init(literalCapacity: Int, interpolationCount: Int) {}

        mutating func appendLiteral(_ literal: String) { text += literal }

        mutating func appendInterpolation(_ printable: PrintableText) { text += printable.description }

        mutating func appendInterpolation(_ foreign: some Any) { text += PrintableText.escaped("\(foreign)") }
    }

    /// A line for each of these, whatever is in them.
    init(lines: [String]) { description = lines.map { Self.escaped($0) + "\n" }.joined() }

    /// Rows of equal length, each column as wide as its widest cell; nothing is put behind the last.
    init(rows: [[String]]) {
        let rows = rows.map { row in
            row.enumerated().map { column, cell in
                Self.escaped(cell, atMost: column == row.count - 1 ? Self.longest : Self.longestCell)
            }
        }
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], min(cell.count, Self.widest))
            }
        }
        description = rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell + String(repeating: " ", count: max(0, widths[column] - cell.count) + 2)
            }
            while line.unicodeScalars.last == " " { line.unicodeScalars.removeLast() }
            return line + "\n"
        }.joined()
    }

    /// A JSON document that means the same as this one, and that a terminal shows: what upsets one can stand in strings only,
    /// where it may be written as an escape (RFC 8259 section 7). Blanks between the tokens stay.
    init(json: String) {
        var text = ""
        text.reserveCapacity(json.utf8.count)
        for scalar in json.unicodeScalars {
            if scalar.upsetsTerminals, scalar != "\n", scalar != "\t", scalar != "\r" {
                text += scalar.escapedForJSON
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        // A terminal would go back to the begin of the line; between tokens it is a blank like any other.
        description = String(text.unicodeScalars.map { $0 == "\r" ? " " : Character($0) })
    }

    static func + (first: PrintableText, second: PrintableText) -> PrintableText { "\(first)\(second)" }

    private static func escaped(_ text: String, atMost limit: Int = longest) -> String {
        var shown = ""
        var count = 0
        for scalar in text.unicodeScalars {
            count += 1
            if count > limit { return shown + "…[cut]" }
            if let escaped = scalar.escapedForLines { shown += escaped } else { shown.unicodeScalars.append(scalar) }
        }
        return shown
    }
}
