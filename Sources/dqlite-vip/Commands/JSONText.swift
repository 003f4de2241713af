import FoundationEssentials

/// JSON on one line, with sorted keys, as the API writes it.
enum JSONText {
    static func of(_ value: some Encodable) throws -> PrintableText {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return PrintableText(json: String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}
