import Platform

/// What another node says in words. It is shown to people, kept in the database and told on to everybody: so it is made sound
/// where it comes in, whoever sent it. The daemon's own settings go by the same rules.
public enum SoundText {
    /// Of a name, a label's key or value, a failure domain.
    public static let mostBytes = 63
    /// Of one node; see `--label`. Enough for whatever a person wants to know at a glance; every node keeps those of all.
    public static let mostLabels = 16

    /// A name as it can be shown: what no name has becomes an underscore, and what is too long is cut. A host may be called anything.
    static func name(_ text: String) -> String {
        String(decoding: text.utf8.prefix(mostBytes).map { isOfWords($0) ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
    }

    /// Letters, digits, dot, hyphen and underscore of ASCII only; of any length, also none.
    public static func isWord(_ text: some StringProtocol) -> Bool { text.utf8.allSatisfy(isOfWords) }

    public static func isName(_ text: String) -> Bool { (1...mostBytes).contains(text.utf8.count) && isWord(text) }

    /// Like a name, and slashes in it.
    public static func isKey(_ text: String) -> Bool { isName(text.replacing("/", with: "_")) }

    /// A label's value is any text without control characters.
    static func isValue(_ text: String) -> Bool {
        text.utf8.count <= mostBytes && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    static func areLabels(_ labels: [String: String]) -> Bool {
        labels.count <= mostLabels
            && labels.allSatisfy { key, value in isKey(key) && isValue(value) }
    }

    /// A UUID, or nothing where it is not known.
    static func isNodeID(_ text: String) -> Bool { text.isEmpty || NodeID(text) != nil }

    /// The address of a cluster port, or nothing where it is not known.
    static func isPlace(_ text: String) -> Bool { text.isEmpty || (try? HostPort(parsing: text)) != nil }

    /// A virtual address is one of ours by its letters; whether it is a good one is for who sets it.
    static func isAddress(_ text: String) -> Bool {
        text.utf8.count <= 49
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
                    UInt8(ascii: "A")...UInt8(ascii: "F"), UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "/"):
                    true
                default: false
                }
            }
    }

    private static func isOfWords(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension KeyedDecodingContainer {
    /// A text that has to be as `isSound` wants it.
    ///
    /// - Throws: `DecodingError` that names the place and not the text.
    func sound(_ key: Key, _ isSound: (String) -> Bool) throws -> String {
        let text = try decode(String.self, forKey: key)
        guard isSound(text) else { throw unsound(key) }
        return text
    }

    func soundIfPresent(_ key: Key, _ isSound: (String) -> Bool) throws -> String? {
        try contains(key) && !decodeNil(forKey: key) ? sound(key, isSound) : nil
    }

    func unsound(_ key: Key) -> DecodingError {
        .dataCorruptedError(forKey: key, in: self, debugDescription: "a text that no node of ours writes")
    }
}
