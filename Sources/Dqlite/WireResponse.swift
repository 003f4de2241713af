/// One message from a node, not yet interpreted.
public struct WireMessage: Hashable, Sendable {
    /// Type byte of the header.
    public var type: UInt8
    public var body: [UInt8]

    public init(type: UInt8, body: [UInt8]) {
        self.type = type
        self.body = body
    }
}

/// An answer of the wire protocol.
public enum WireResponse: Hashable, Sendable {
    case failure(code: UInt64, message: String)
    /// (0, "") when the node knows no leader.
    case server(id: DqliteNodeID, address: String)
    /// The node's idea of a heartbeat time-out, in milliseconds; nothing acts on it.
    case welcome(heartbeatTimeout: UInt64)
    case servers([DqliteMember])
    case database(UInt32)
    case statement(id: UInt32, parameterCount: UInt64)
    case result(lastInsertID: Int64, rowsAffected: UInt64)
    case rows(DqliteRows, isLast: Bool)
    case empty
    case files([File])
    case metadata(failureDomain: UInt64, weight: UInt64)

    /// A file of a dump: the database, or its write-ahead log.
    public struct File: Hashable, Sendable {
        public var name: String
        public var content: [UInt8]

        public init(name: String, content: [UInt8]) {
            self.name = name
            self.content = content
        }
    }

    /// Decodes the answer to `request`.
    ///
    /// - Throws: `protocolViolation` when the body is malformed or the type is none that answers this request.
    public init(_ message: WireMessage, answering request: WireRequest) throws(DqliteError) {
        var body = WireDecoder(message.body)
        if message.type == 0 {
            let code = try body.integer(UInt64.self)
            self = .failure(code: code, message: try body.text())
            return
        }
        switch (request.type, message.type) {
        case (.leader, 1):
            let id = try body.integer(UInt64.self)
            self = .server(id: id, address: try body.text())
        case (.client, 2):
            self = .welcome(heartbeatTimeout: try body.integer())
        case (.cluster, 3):
            var format = WireRequest.ClusterFormat.withRoles
            if case .cluster(let asked) = request { format = asked }
            self = .servers(try Self.members(&body, format))
        case (.open, 4):
            self = .database(try body.integer())
        case (.prepare, 5):
            _ = try body.integer(UInt32.self)
            let id = try body.integer(UInt32.self)
            self = .statement(id: id, parameterCount: try body.integer())
        case (.exec, 6), (.execSQL, 6):
            let id = try body.integer(Int64.self)
            self = .result(lastInsertID: id, rowsAffected: try body.integer())
        case (.query, 7), (.querySQL, 7):
            let (rows, isLast) = try body.rows()
            self = .rows(rows, isLast: isLast)
        case (.finalize, 8), (.interrupt, 8), (.add, 8), (.assign, 8), (.remove, 8), (.transfer, 8), (.weight, 8):
            self = .empty
        case (.dump, 9):
            self = .files(try Self.files(&body))
        case (.describe, 10):
            let domain = try body.integer(UInt64.self)
            self = .metadata(failureDomain: domain, weight: try body.integer())
        default:
            throw DqliteError(.protocolViolation, "a message of type \(message.type) does not answer \(request.type)")
        }
    }

    private static func members(
        _ body: inout WireDecoder, _ format: WireRequest.ClusterFormat
    ) throws(DqliteError) -> [DqliteMember] {
        let count = try body.integer(UInt64.self)
        var members: [DqliteMember] = []
        // No reservation by the declared count: a lie ends with the body.
        for _ in 0..<count {
            let id = try body.integer(UInt64.self)
            let address = try body.text()
            var role = DqliteRole.voter
            if format == .withRoles {
                let number = try body.integer(UInt64.self)
                guard let known = DqliteRole(rawValue: number) else {
                    throw DqliteError(.protocolViolation, "member \(id) has the unknown role \(number)")
                }
                role = known
            }
            members.append(DqliteMember(id: id, address: address, role: role))
        }
        return members
    }

    private static func files(_ body: inout WireDecoder) throws(DqliteError) -> [File] {
        let count = try body.integer(UInt64.self)
        var files: [File] = []
        for _ in 0..<count {
            let name = try body.text()
            files.append(File(name: name, content: try body.raw(try body.integer(), "the file \(name)")))
        }
        return files
    }
}
