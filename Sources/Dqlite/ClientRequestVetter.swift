/// Vets what a client from outside sends to the node, message by message: a malformed one would stop libdqlite.
///
/// It takes the byte stream behind the protocol word. It never lets through what the node does not understand, keeps at most
/// one unfinished message beside what has been read with it, and lets one request at a time to the node: whoever does not wait
/// for answers is not read any further.
///
/// The answers of the node have to be shown to it too (`consumeAnswer`): libdqlite 1.11 dies of a statement id that
/// was finalized or never given out, so ids that were not seen in an answer are refused here. Before the first SQL of a reader
/// it makes the node's connection one of a reader (`SQLGuard`), and nothing passes before that has been confirmed.
public struct ClientRequestVetter: Sendable {
    /// What a client may ask for.
    public enum Policy: Sendable, Hashable {
        /// Reading, and asking about the cluster.
        case readOnly
        /// Everything that is well-formed, except becoming a raft peer.
        case full
    }

    public struct Limits: Sendable, Hashable {
        /// Body of one message, in bytes.
        public var messageLength: Int
        /// Text of a statement, in bytes; with `readOnly` only.
        public var sqlLength: Int
        /// Statements prepared and not finalized, per connection.
        public var statements: Int

        public init(messageLength: Int = 64 << 10, sqlLength: Int = 16 << 10, statements: Int = 64) {
            self.messageLength = messageLength
            self.sqlLength = sqlLength
            self.statements = statements
        }
    }

    /// What to do with the next message.
    public enum Verdict: Sendable, Hashable {
        /// Pass this whole, sound message on to the node.
        case forward([UInt8])
        /// Do not pass it on; write this message to the client instead.
        case answer([UInt8])
        /// Close the connection: the stream cannot be followed, or the client is hostile.
        case close(reason: String)
    }

    private let policy: Policy
    private let limits: Limits
    private let databases: Set<String>?
    private let sql: ReadOnlySQL
    private var buffer: [UInt8] = []
    private var isClosed = false
    /// The request that was forwarded and is not answered yet.
    private var pending: WireRequest.MessageType?
    private var answers = AnswerFollower()
    /// Statement ids that the node surely has.
    private var statements: Set<UInt32> = []
    /// The node's connection is confirmed to be one of a reader.
    private var isReader = false
    /// The answer to the question that makes it one, as far as it has come; nil while that is not asked.
    private var confirmation: [UInt8]?
    /// The message that waits for it, and what it is answered with instead when it failed.
    private var waiting: (message: [UInt8], refusal: [UInt8]?)?

    /// - Parameters:
    ///   - databases: the names that may be opened or dumped; nil stands for any that is a plain file name.
    ///   - tables: what a reader may read; names in lower case.
    public init(
        policy: Policy = .readOnly, limits: Limits = Limits(), databases: Set<String>? = nil, tables: Set<String>
    ) {
        self.policy = policy
        self.limits = limits
        self.databases = databases
        sql = ReadOnlySQL(tables: tables)
    }

    /// Takes in the next bytes of the client.
    public mutating func consume(_ bytes: some Collection<UInt8>) {
        if !isClosed { buffer.append(contentsOf: bytes) }
    }

    /// Whether a request is with the node: nothing more is to be read from the client until it is answered.
    public var isBusy: Bool { pending != nil }

    /// Whether `next` has something to say.
    public var hasMessage: Bool {
        guard !isClosed, !isBusy else { return false }
        return waiting != nil || buffer.count >= 8 && (bodyLength.map { buffer.count >= 8 + $0 } ?? true)
    }

    /// What had to come before a request is answered, and the request itself is next.
    public var isHalfway: Bool { waiting != nil && !isBusy }

    /// Drops the next whole message unseen.
    ///
    /// - Returns: what its client is told: SQLITE_BUSY, and when to ask again.
    public mutating func postponed() -> [UInt8] {
        if waiting != nil {
            waiting = nil
        } else if let length = bodyLength, buffer.count >= 8 + length {
            buffer.removeFirst(8 + length)
        }
        return WireEncoder.failure(
            code: 5, message: "the readers of this node have used up their share of its time: ask again in a second")
    }

    /// What to do with the next message; nil while there is no whole one, a request is with the node, or the end was said.
    public mutating func next() -> Verdict? {
        guard hasMessage else { return nil }
        if let waiting {
            self.waiting = nil
            return waiting.refusal.map { .answer($0) } ?? pass(waiting.message)
        }
        if let reason = unsoundHeader { return end(reason) }
        guard let length = bodyLength else { return end("a message of a length that cannot be") }
        let message = Array(buffer.prefix(8 + length))
        buffer.removeFirst(message.count)
        let verdict = vet(message)
        if case .close(let reason) = verdict { return end(reason) }
        return verdict
    }

    private mutating func end(_ reason: String) -> Verdict {
        isClosed = true
        buffer = []
        return .close(reason: reason)
    }

    /// The length of the next message's body in bytes; nil when the header is not all there, or is unsound.
    private var bodyLength: Int? {
        guard buffer.count >= 8, unsoundHeader == nil else { return nil }
        return announcedLength
    }

    private var announcedLength: Int { buffer.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) } * 8 }

    private var unsoundHeader: String? {
        let length = announcedLength
        // libdqlite 1.11 aborts on it.
        if length == 0 { return "a message with an empty body" }
        if length > limits.messageLength {
            return "a message of \(length) bytes; \(limits.messageLength) are allowed"
        }
        return buffer[4] == WireRequest.MessageType.connect.rawValue
            ? "a client must not connect as a raft peer" : nil
    }

    /// Takes in the next bytes that the node sends.
    ///
    /// - Returns: what is to be passed on to the client.
    public mutating func consumeAnswer<Bytes: Collection<UInt8>>(_ bytes: Bytes) -> Bytes.SubSequence {
        let isForClient = confirmation == nil
        if !isForClient { confirmation?.append(contentsOf: bytes) }
        for answer in answers.consume(bytes) {
            guard let request = pending else { continue }
            pending = nil
            if confirmation != nil {
                confirmed()
                continue
            }
            switch (request, answer) {
            case (.prepare, .statement(let id)): statements.insert(id)
            // A connection can open a database again only after it lost the first, and all statements with it.
            case (.open, .database): (statements, isReader) = ([], false)
            default: break
            }
        }
        return isForClient ? bytes[...] : bytes[bytes.endIndex...]
    }

    /// The node has answered whether its connection is one of a reader now.
    private mutating func confirmed() {
        let answer = confirmation ?? []
        confirmation = nil
        // Rows; anything else is a failure, that it does not lead for example, and is the client's to hear.
        if answer.count > 4, answer[4] == 7 { isReader = true } else { waiting?.refusal = answer }
    }

    /// Lets a sound message through, after what has to come before it.
    private mutating func pass(_ message: [UInt8]) -> Verdict {
        let type = WireRequest.MessageType(rawValue: message[4])
        guard policy == .full || isReader || (type != .prepare && type != .querySQL) else {
            guard let question = Self.restriction else { return end("a reader's connection cannot be restricted") }
            waiting = (message, nil)
            confirmation = []
            pending = .querySQL
            return .forward(question)
        }
        pending = type
        return .forward(message)
    }

    private static let restriction = try? WireRequest.querySQL(
        database: 0, sql: SQLGuard.restriction, parameters: []
    ).encoded()

    private mutating func vet(_ message: [UInt8]) -> Verdict {
        guard let type = WireRequest.MessageType(rawValue: message[4]), type != .heartbeat else {
            return .answer(WireEncoder.failure(code: 1001, message: "unknown request type \(message[4])"))
        }
        // Other schemas exist only in newer versions; 1.11 would read the body as schema 0.
        guard message[5...7].allSatisfy({ $0 == 0 }) else {
            return .answer(WireEncoder.failure(code: 1001, message: "unknown request schema \(message[5])"))
        }
        if policy == .readOnly, type == .execSQL, Self.bracketsTransaction(message) {
            return .answer(WireEncoder.emptyResult())
        }
        if policy == .readOnly, let refusal = Self.refusal(of: type) {
            return .answer(WireEncoder.failure(code: 8, message: refusal))
        }
        do throws(DqliteError) {
            var body = WireDecoder(Array(message[8...]))
            if let refusal = try check(type, &body) {
                return .answer(WireEncoder.failure(code: refusal.code, message: refusal.text))
            }
            try body.end()
            if let refusal = try account(for: type, message) {
                return .answer(WireEncoder.failure(code: refusal.code, message: refusal.text))
            }
        } catch {
            return .close(reason: "a malformed \(type) request: \(error.message)")
        }
        return pass(message)
    }

    private struct Refusal {
        var code: UInt64
        var text: String
    }

    /// Reads the body by its layout; libdqlite trusts it less than it should.
    private func check(
        _ type: WireRequest.MessageType, _ body: inout WireDecoder
    ) throws(DqliteError) -> Refusal? {
        switch type {
        case .leader, .client, .interrupt, .remove, .transfer, .weight:
            _ = try body.integer(UInt64.self)
        case .open:
            let name = try body.text()
            _ = try body.integer(UInt64.self)
            _ = try body.text()
            return refusal(ofDatabase: name)
        case .dump:
            return refusal(ofDatabase: try body.text())
        case .prepare:
            _ = try body.integer(UInt64.self)
            return try refusal(ofSQL: body.textBytes())
        case .exec, .query:
            _ = try body.integer(UInt64.self)
            _ = try body.parameters()
        case .finalize:
            _ = try body.integer(UInt64.self)
        case .execSQL, .querySQL:
            _ = try body.integer(UInt64.self)
            let refusal = try refusal(ofSQL: body.textBytes())
            _ = try body.parameters()
            return refusal
        case .add:
            _ = try body.integer(UInt64.self)
            _ = try body.text()
        case .assign:
            _ = try body.integer(UInt64.self)
            // The old form ends here: it makes a voter.
            if body.remaining > 0, DqliteRole(rawValue: try body.integer()) == nil {
                return Refusal(code: 1005, text: "unknown role")
            }
        case .cluster:
            let format = try body.integer(UInt64.self)
            if WireRequest.ClusterFormat(rawValue: format) == nil {
                return Refusal(code: 1005, text: "unknown Cluster format \(format)")
            }
        case .describe:
            // Any other makes libdqlite 1.11 answer twice and abort.
            let format = try body.integer(UInt64.self)
            if format != 0 { return Refusal(code: 1005, text: "unknown Describe format \(format)") }
        case .heartbeat, .connect:
            return Refusal(code: 1001, text: "request type \(type.rawValue) is not for clients")
        }
        return nil
    }

    private func refusal(ofSQL sql: ArraySlice<UInt8>) -> Refusal? {
        guard policy == .readOnly else { return nil }
        guard sql.count <= limits.sqlLength else {
            return Refusal(code: 18, text: "the SQL text has \(sql.count) bytes; \(limits.sqlLength) are allowed")
        }
        return self.sql.check(Array(sql)).map { Refusal(code: 8, text: "this access is for reading: \($0)") }
    }

    private func refusal(ofDatabase name: String) -> Refusal? {
        if let databases {
            return databases.contains(name) ? nil : Refusal(code: 14, text: "there is no database \"\(name)\"")
        }
        let isPlain =
            (1...64).contains(name.utf8.count) && !name.hasPrefix(".")
            && name.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
        return isPlain ? nil : Refusal(code: 14, text: "\"\(name)\" is no name of a database")
    }

    /// Keeps the books of prepared statements.
    private mutating func account(
        for type: WireRequest.MessageType, _ message: [UInt8]
    ) throws(DqliteError) -> Refusal? {
        switch type {
        case .open:
            statements = []
        case .prepare:
            if statements.count >= limits.statements {
                return Refusal(code: 5, text: "\(statements.count) statements are prepared; finalize some")
            }
        case .exec, .query, .finalize:
            var body = WireDecoder(Array(message[12...]))
            let id = try body.integer(UInt32.self)
            guard statements.contains(id) else { return Refusal(code: 12, text: "no statement with the given id") }
            if type == .finalize { statements.remove(id) }
        case .leader, .client, .heartbeat, .execSQL, .querySQL, .interrupt, .connect, .add, .assign, .remove, .dump,
            .cluster, .transfer, .describe, .weight:
            break
        }
        return nil
    }

    /// Whether an ExecSQL only begins or ends a transaction, which many clients do around each reading, go-dqlite's shell
    /// among them. Each of their queries is one of its own here, so that no stranger holds a lock.
    private static func bracketsTransaction(_ message: [UInt8]) -> Bool {
        var body = WireDecoder(Array(message[8...]))
        guard (try? body.integer(UInt64.self)) != nil, let text = try? body.textBytes(),
            (try? body.parameters()) != nil, (try? body.end()) != nil
        else { return false }
        return ["BEGIN", "COMMIT", "END", "ROLLBACK"].contains(String(decoding: text, as: UTF8.self).uppercased())
    }

    private static func refusal(of type: WireRequest.MessageType) -> String? {
        switch type {
        case .exec, .execSQL: "this access is read-only: use the API of dqlite-vip to change something"
        case .add, .assign, .remove, .transfer, .weight: "this access is read-only: it does not change the cluster"
        case .leader, .client, .heartbeat, .open, .prepare, .query, .finalize, .querySQL, .interrupt, .connect,
            .dump, .cluster, .describe:
            nil
        }
    }
}
