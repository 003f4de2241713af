/// Vets what a client from outside sends to the node, message by message: a malformed one would stop libdqlite.
///
/// It takes the byte stream behind the protocol word. It never lets through what the node does not understand, and
/// keeps at most one unfinished message.
///
/// The answers of the node have to be shown to it too (`consumeAnswer`): libdqlite 1.11 dies of a statement id that
/// was finalized or never given out, so ids that were not seen in an answer are refused here.
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

        public init(messageLength: Int = 1 << 20, sqlLength: Int = 64 << 10, statements: Int = 256) {
            self.messageLength = messageLength
            self.sqlLength = sqlLength
            self.statements = statements
        }
    }

    /// What to do, in the order of the stream.
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
    private var buffer: [UInt8] = []
    private var isClosed = false
    /// The requests that were forwarded and are not answered yet, in order.
    private var pending: [WireRequest.MessageType] = []
    private var answers = AnswerFollower()
    /// Statement ids that the node surely has.
    private var statements: Set<UInt32> = []

    /// `databases` are the names that may be opened or dumped; nil stands for any that is a plain file name.
    public init(policy: Policy = .readOnly, limits: Limits = Limits(), databases: Set<String>? = nil) {
        self.policy = policy
        self.limits = limits
        self.databases = databases
    }

    /// Takes in the next bytes of the client. After `close` it answers nothing more.
    public mutating func consume(_ bytes: some Collection<UInt8>) -> [Verdict] {
        if isClosed { return [] }
        buffer.append(contentsOf: bytes)
        var verdicts: [Verdict] = []
        var start = 0
        while !isClosed, let length = header(at: start, &verdicts), buffer.count - start >= 8 + length {
            let end = start + 8 + length
            verdicts.append(vet(Array(buffer[start..<end])))
            if case .close = verdicts.last { isClosed = true }
            start = end
        }
        if isClosed {
            buffer = []
        } else if start > 0 {
            buffer.removeFirst(start)
        }
        return verdicts
    }

    /// The length of the body that begins behind the header at `start`; nil when the header is not all there.
    private mutating func header(at start: Int, _ verdicts: inout [Verdict]) -> Int? {
        guard buffer.count - start >= 8 else { return nil }
        let words = buffer[start..<(start + 4)].reversed().reduce(0) { $0 << 8 | Int($1) }
        let length = words * 8
        if length == 0 {
            // libdqlite 1.11 aborts on it.
            return refuseStream("a message with an empty body", &verdicts)
        }
        if length > limits.messageLength {
            return refuseStream("a message of \(length) bytes; \(limits.messageLength) are allowed", &verdicts)
        }
        if buffer[start + 4] == WireRequest.MessageType.connect.rawValue {
            return refuseStream("a client must not connect as a raft peer", &verdicts)
        }
        return length
    }

    private mutating func refuseStream(_ reason: String, _ verdicts: inout [Verdict]) -> Int? {
        isClosed = true
        verdicts.append(.close(reason: reason))
        return nil
    }

    /// How many forwarded requests the node has not answered yet. Forward one at a time, or interrupts go astray.
    public var outstanding: Int { pending.count }

    /// Takes in the next bytes that the node sends to the client. Pass them on unchanged.
    public mutating func consumeAnswer(_ bytes: some Collection<UInt8>) {
        for answer in answers.consume(bytes) where !pending.isEmpty {
            switch (pending.removeFirst(), answer) {
            case (.prepare, .statement(let id)): statements.insert(id)
            // A connection can open a database again only after it lost the first, and all statements with it.
            case (.open, .database): statements = []
            default: break
            }
        }
    }

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
        pending.append(type)
        return .forward(message)
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
        return ReadOnlySQL.check(Array(sql)).map { Refusal(code: 8, text: "this access is read-only: \($0)") }
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
            let count = statements.count + pending.count { $0 == .prepare }
            if count >= limits.statements {
                return Refusal(code: 5, text: "\(count) statements are prepared; finalize some")
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
