import Platform

/// Peer frames as anybody on the wire can write them: the magic bytes, a length, and JSON of one's own making.
///
/// An encoder of its own, so that the product's cannot hide a mistake.
public enum PeerWire {
    /// What begins a connection of a peer: "DQVIP", two zero bytes, and the version.
    public static let magic: [UInt8] = Array("DQVIP".utf8) + [0, 0, 1]

    /// The most that a node takes as one frame, in bytes.
    public static let frameLimit = 256 * 1024

    /// A frame: the length of four bytes, big endian, then the text.
    public static func frame(_ json: String) -> [UInt8] {
        let bytes = Array(json.utf8)
        return withUnsafeBytes(of: UInt32(bytes.count).bigEndian) { Array($0) } + bytes
    }

    /// Asks one question on a connection of its own.
    ///
    /// - Throws: `SystemError` or `LabError` when there is no whole answer in time, or the node closes without one.
    public static func ask(
        _ json: String, at address: HostPort, in namespace: Namespace, within limit: Duration = .seconds(3)
    ) throws -> String {
        let connection = try TCPConnection(to: address, in: namespace, within: limit)
        try connection.send(magic + frame(json))
        let length = try connection.receive(exactly: 4).reduce(0) { $0 << 8 | Int($1) }
        guard length <= frameLimit else { throw LabError("\(address) answers with a frame of \(length) bytes") }
        return String(decoding: try connection.receive(exactly: length), as: UTF8.self)
    }

    /// A text as JSON, its quotes too; every character but printable ASCII is escaped.
    public static func quoted(_ text: String) -> String {
        let inside = text.utf16.map { unit in
            switch unit {
            case 0x22, 0x5C: "\\" + String(UnicodeScalar(UInt8(unit)))
            case 0x20...0x7E: String(UnicodeScalar(UInt8(unit)))
            default: "\\u" + String(repeating: "0", count: 4 - String(unit, radix: 16).count) + String(unit, radix: 16)
            }
        }
        return "\"" + inside.joined() + "\""
    }
}
