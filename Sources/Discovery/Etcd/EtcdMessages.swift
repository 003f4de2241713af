import FoundationEssentials

/// The messages of etcd's API v3 in JSON, as its gateway translates them: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/
///
/// 64-bit numbers are texts there, bytes are in base64, and what is 0, false or empty is left out. The decoders take any
/// bytes, both ways of writing names (`mod_revision`, `modRevision`) and numbers with and without quotes.
enum EtcdMessages {
    struct Lease: Hashable, Sendable {
        var id: Int64
        /// Seconds; 0 says that the lease is not known.
        var timeToLive: Int64
    }

    struct KeyValue: Hashable, Sendable {
        var key: [UInt8]
        var value: [UInt8]
        var modRevision: Int64
        /// 0: under none.
        var lease: Int64
    }

    struct Transaction: Hashable, Sendable {
        /// Whether what was compared was as it should be.
        var succeeded: Bool
        /// What each range among the operations found, in their order.
        var ranges: [[KeyValue]]
    }

    struct Failure: Hashable, Sendable {
        /// See https://grpc.io/docs/guides/status-codes/; nil when there is none.
        var code: Int?
        var message: String
    }

    static func authenticate(_ name: String, _ password: String) -> [UInt8] {
        encode(["name": name, "password": password])
    }

    static func grant(seconds: Int64) -> [UInt8] { encode(["TTL": String(seconds)]) }

    static func lease(_ id: String) -> [UInt8] { encode(["ID": id]) }

    static func put(_ key: String, _ value: [UInt8], lease: String) -> [UInt8] {
        encode(Put(key: base64(key), value: Data(value).base64EncodedString(), lease: lease))
    }

    /// Reads in one transaction all keys that begin with `prefix`, at most `limit` of them, and one more.
    static func read(prefix: String, limit: Int, key: String) -> [UInt8] {
        // The end of a range is outside it: the prefix with its last byte increased.
        var end = Array(prefix.utf8)
        if let last = end.popLast() { end.append(last &+ 1) }
        let all = Range(key: base64(prefix), range_end: Data(end).base64EncodedString(), limit: String(limit))
        let one = Range(key: base64(key), range_end: nil, limit: nil)
        return encode(
            Operations(compare: nil, success: [Operation(request_range: all), Operation(request_range: one)]))
    }

    /// Writes a key if it was last changed by that revision; nil: if it is not there.
    static func putIfUnchanged(
        _ key: String, _ value: [UInt8], lease: String, modRevision: UInt64?
    ) -> [UInt8] {
        let name = base64(key)
        let compare =
            modRevision.map {
                Compare(key: name, target: "MOD", result: "EQUAL", mod_revision: String($0), version: nil)
            } ?? Compare(key: name, target: "VERSION", result: "EQUAL", mod_revision: nil, version: "0")
        let put = Put(key: name, value: Data(value).base64EncodedString(), lease: lease)
        return encode(Operations(compare: [compare], success: [Operation(request_put: put)]))
    }

    /// The answer to a grant; nil when it is none.
    static func granted(_ bytes: [UInt8]) -> Lease? {
        guard let answer: LeaseAnswer = decode(bytes), let id = answer.ID?.value, let seconds = answer.TTL?.value,
            id != 0, seconds > 0
        else { return nil }
        return Lease(id: id, timeToLive: seconds)
    }

    /// The first answer on the stream of a keep-alive; nil when there is none. An answer without a time to live is about a
    /// lease that is not known.
    static func keptAlive(_ bytes: [UInt8]) -> Lease? {
        let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
        guard let answer: Streamed = decode(Array(line)), let result = answer.result, let id = result.ID?.value else {
            return nil
        }
        return Lease(id: id, timeToLive: max(0, result.TTL?.value ?? 0))
    }

    /// nil when it is not the answer to a transaction.
    static func transaction(_ bytes: [UInt8]) -> Transaction? {
        guard let answer: TransactionAnswer = decode(bytes), answer.header != nil else { return nil }
        let ranges: [[KeyValue]?] = (answer.responses ?? []).compactMap(\.range).map { range in
            var pairs: [KeyValue] = []
            for pair in range.kvs ?? [] {
                guard let key = pair.key.flatMap({ Data(base64Encoded: $0) }),
                    let value = Data(base64Encoded: pair.value ?? "")
                else { return nil }
                pairs.append(
                    KeyValue(
                        key: Array(key), value: Array(value), modRevision: pair.revision, lease: pair.lease?.value ?? 0)
                )
            }
            return pairs
        }
        let sound = ranges.compactMap(\.self)
        guard sound.count == ranges.count else { return nil }
        return Transaction(succeeded: answer.succeeded ?? false, ranges: sound)
    }

    /// An answer that says no more than that it was done; nil when it is not etcd's.
    static func done(_ bytes: [UInt8]) -> Bool? {
        let answer: Headed? = decode(bytes)
        return answer.map { _ in true }
    }

    /// The token of an authentication; nil when there is none.
    static func token(_ bytes: [UInt8]) -> String? {
        guard let answer: TokenAnswer = decode(bytes), let token = answer.token, !token.isEmpty,
            // It becomes a header of HTTP.
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { return nil }
        return token
    }

    /// What etcd says in an answer that is none of success; nil when that is not etcd's way to say it.
    static func failure(_ bytes: [UInt8]) -> Failure? {
        if let answer: FailureAnswer = decode(bytes), let text = answer.message ?? answer.error {
            return Failure(code: answer.code, message: plain(text))
        }
        if let answer: StreamFailure = decode(Array(bytes.prefix { $0 != UInt8(ascii: "\n") })) {
            return Failure(code: answer.error.grpc_code, message: plain(answer.error.message ?? "no reason given"))
        }
        // What the gateway says itself comes as plain text; other plain text is some other server's.
        let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
        if line.starts(with: Array("CommonName".utf8)) {
            return Failure(code: nil, message: plain(String(decoding: line, as: UTF8.self)))
        }
        return nil
    }

    /// Short, in one line, without control characters: it goes into logs.
    static func plain(_ text: String) -> String {
        let clean = String(
            text.unicodeScalars.lazy.prefix(200).map { $0.properties.generalCategory == .control ? " " : Character($0) }
        )
        return text.unicodeScalars.count > 200 ? clean + "…" : clean
    }

    private static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

    private static func encode(_ message: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Fails only for numbers that are not finite, and there are none.
        return (try? encoder.encode(message)).map { Array($0) } ?? []
    }

    private static func decode<Message: Decodable>(_ bytes: [UInt8]) -> Message? {
        try? JSONDecoder().decode(Message.self, from: Data(bytes))
    }
}

// The names are those on the wire.
extension EtcdMessages {
    private struct Put: Encodable {
        var key: String
        var value: String
        var lease: String
    }

    private struct Range: Encodable {
        var key: String
        var range_end: String?
        var limit: String?
    }

    private struct Compare: Encodable {
        var key: String
        var target: String
        var result: String
        var mod_revision: String?
        var version: String?
    }

    private struct Operation: Encodable {
        var request_range: Range?
        var request_put: Put?
    }

    private struct Operations: Encodable {
        var compare: [Compare]?
        var success: [Operation]
    }

    private struct LeaseAnswer: Decodable {
        var ID: Number?
        var TTL: Number?
    }

    private struct Streamed: Decodable { var result: LeaseAnswer? }

    private struct TokenAnswer: Decodable { var token: String? }

    /// What every answer has; only that it is there matters.
    private struct Header: Decodable {}

    private struct Headed: Decodable { var header: Header }

    private struct TransactionAnswer: Decodable {
        var header: Header?
        var succeeded: Bool?
        var responses: [Response]?
    }

    private struct Response: Decodable {
        var response_range: Found?
        var responseRange: Found?
        var range: Found? { response_range ?? responseRange }
    }

    private struct Found: Decodable { var kvs: [Pair]? }

    private struct Pair: Decodable {
        var key: String?
        var value: String?
        var mod_revision: Number?
        var modRevision: Number?
        var lease: Number?
        var revision: Int64 { mod_revision?.value ?? modRevision?.value ?? 0 }
    }

    private struct FailureAnswer: Decodable {
        var message: String?
        var error: String?
        var code: Int?
    }

    private struct StreamFailure: Decodable {
        struct Detail: Decodable {
            var grpc_code: Int?
            var message: String?
        }
        var error: Detail
    }

    /// A number of 64 bits, in quotes or not.
    private struct Number: Decodable {
        var value: Int64

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int64.self) {
                value = number
                return
            }
            guard let number = Int64(try container.decode(String.self)) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a number")
            }
            value = number
        }
    }
}
