/// A value that stands in JSON, or wherever else it is encoded, as its text.
public protocol TextCodable: Codable, CustomStringConvertible {
    /// Takes the text form; what it throws is told to the reader of the `DecodingError`.
    init(codedText text: String) throws
}

extension TextCodable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do {
            self = try Self(codedText: text)
        } catch {
            throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "\(error)"))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// Why a text is not the value that it should be.
struct NotTheText: Error, CustomStringConvertible {
    var text: String
    var expected: String
    var description: String { "\"\(text)\" is not \(expected)" }
}
