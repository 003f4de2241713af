extension Unicode.Scalar {
    /// What does not show itself and changes how the rest is shown: controls (C0, DEL, C1), line and paragraph separators, and
    /// the format characters, among them the marks that turn the direction of text (Unicode TR9) and the invisible tags. With them
    /// a value from the network could forge a line, hide one, or give orders to the terminal.
    var upsetsTerminals: Bool {
        if value < 0x7F { return value < 0x20 }
        return switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    /// As a line for people writes it, so that it stays within that line; nil: as it is.
    var escapedForLines: String? {
        switch self {
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case _ where upsetsTerminals: "\\u{\(String(value, radix: 16))}"
        default: nil
        }
    }

    /// As JSON writes it in a string, RFC 8259 section 7: two escapes where it is beyond the basic plane.
    var escapedForJSON: String {
        String(self).utf16.map { unit in
            let digits = String(unit, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }.joined()
    }
}
