import FoundationEssentials

/// What Consul answers: pure functions that bear any input.
enum ConsulDecoding {
    /// Why a transaction was not done.
    struct Conflict: Hashable, Sendable {
        /// Which of its operations; nil when Consul does not say.
        var operation: Int?
        var reason: String
    }

    /// From the answer to a recursive read.
    ///
    /// - Parameter prefix: what all keys begin with, the slash included.
    /// - Throws: `DiscoveryError` when it is not one of Consul's, as all functions here.
    static func snapshot(_ bytes: [UInt8], below prefix: String) throws(DiscoveryError) -> StoreSnapshot {
        var snapshot = StoreSnapshot()
        for entry in try decode([Entry].self, bytes, "a list of keys") where entry.key.hasPrefix(prefix) {
            let name = entry.key.dropFirst(prefix.count)
            let value = entry.value.map { Array($0) } ?? []
            if name == "leader" {
                let session = entry.session.flatMap { $0.isEmpty ? nil : $0 }
                snapshot.leader = StoreSnapshot.Leader(record: value, version: entry.modifyIndex, holdID: session)
            } else if name.hasPrefix("nodes/") {
                // Others may keep keys of their own below; and Consul's web page makes "nodes/" itself a key.
                let id = name.dropFirst("nodes/".count)
                if !id.isEmpty, !id.contains("/") { snapshot.nodes[String(id)] = value }
            }
        }
        return snapshot
    }

    /// The id of a session that was created, fit for a URL.
    static func sessionID(_ bytes: [UInt8]) throws(DiscoveryError) -> String {
        let id = try decode(SessionID.self, bytes, "a session").id
        guard 1...64 ~= id.utf8.count, id.utf8.allSatisfy(isPlain) else { throw notConsul("a session") }
        return id
    }

    /// Why a transaction was not done, at least one reason.
    static func conflicts(_ bytes: [UInt8]) throws(DiscoveryError) -> [Conflict] {
        let wanted = "the outcome of a transaction"
        let errors = try decode(TransactionErrors.self, bytes, wanted).errors ?? []
        if errors.isEmpty { throw notConsul(wanted) }
        return errors.map { Conflict(operation: $0.operation, reason: line($0.reason)) }
    }

    /// Consul's own words to a person.
    static func text(_ bytes: [UInt8]) -> String { line(String(decoding: bytes.prefix(4096), as: UTF8.self)) }

    /// On one line, and not too long.
    private static func line(_ text: String) -> String {
        let words = text.unicodeScalars.split {
            $0.properties.isWhitespace || $0.value < 0x20 || 0x7F...0x9F ~= $0.value
        }
        let line = words.map { String(Substring($0)) }.joined(separator: " ")
        return line.count > 200 ? line.prefix(200) + "…" : line
    }

    static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private struct Entry: Decodable {
        var key: String
        var value: Data?
        var modifyIndex: UInt64
        var session: String?

        private enum CodingKeys: String, CodingKey {
            case key = "Key"
            case value = "Value"
            case modifyIndex = "ModifyIndex"
            case session = "Session"
        }
    }

    private struct SessionID: Decodable {
        var id: String

        private enum CodingKeys: String, CodingKey { case id = "ID" }
    }

    private struct TransactionErrors: Decodable {
        struct Entry: Decodable {
            var operation: Int?
            var reason: String

            private enum CodingKeys: String, CodingKey {
                case operation = "OpIndex"
                case reason = "What"
            }
        }

        var errors: [Entry]?

        private enum CodingKeys: String, CodingKey { case errors = "Errors" }
    }

    private static func decode<Value: Decodable>(
        _ type: Value.Type, _ bytes: [UInt8], _ wanted: String
    ) throws(DiscoveryError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw notConsul(wanted)
        }
    }

    private static func notConsul(_ wanted: String) -> DiscoveryError {
        DiscoveryError(.malformed, "the answer is not \(wanted) as Consul gives it: is it the HTTP port of Consul?")
    }
}
