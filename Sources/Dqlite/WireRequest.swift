/// A request of the wire protocol, schema 0 throughout; libdqlite's src/request.h has the layouts.
public enum WireRequest: Hashable, Sendable {
    /// The two layouts of the Servers answer.
    public enum ClusterFormat: UInt64, Sendable, Hashable {
        /// Id and address.
        case withoutRoles = 0
        /// Id, address and role.
        case withRoles = 1
    }

    case leader
    case client(id: UInt64)
    case open(name: String)
    case prepare(database: UInt32, sql: String)
    case exec(database: UInt32, statement: UInt32, parameters: [DqliteValue])
    case query(database: UInt32, statement: UInt32, parameters: [DqliteValue])
    case finalize(database: UInt32, statement: UInt32)
    case execSQL(database: UInt32, sql: String, parameters: [DqliteValue])
    case querySQL(database: UInt32, sql: String, parameters: [DqliteValue])
    case interrupt(database: UInt32)
    /// Makes the connection a raft peer stream; never answered.
    case connect(id: DqliteNodeID, address: String)
    case add(id: DqliteNodeID, address: String)
    case assign(id: DqliteNodeID, role: DqliteRole)
    case remove(id: DqliteNodeID)
    case dump(name: String)
    case cluster(format: ClusterFormat)
    /// 0 lets raft choose a voter.
    case transfer(id: DqliteNodeID)
    /// Format 0, the only one: any other makes libdqlite 1.11 abort.
    case describe
    case weight(UInt64)

    /// The word that opens a connection: protocol version 1. A node does not answer it.
    public static let protocolVersion: UInt64 = 1

    /// The byte in the message's header.
    public enum MessageType: UInt8, Sendable, Hashable {
        case leader = 0
        case client = 1
        case heartbeat = 2
        case open = 3
        case prepare = 4
        case exec = 5
        case query = 6
        case finalize = 7
        case execSQL = 8
        case querySQL = 9
        case interrupt = 10
        case connect = 11
        case add = 12
        case assign = 13
        case remove = 14
        case dump = 15
        case cluster = 16
        case transfer = 17
        case describe = 18
        case weight = 19
    }

    public var type: MessageType {
        switch self {
        case .leader: .leader
        case .client: .client
        case .open: .open
        case .prepare: .prepare
        case .exec: .exec
        case .query: .query
        case .finalize: .finalize
        case .execSQL: .execSQL
        case .querySQL: .querySQL
        case .interrupt: .interrupt
        case .connect: .connect
        case .add: .add
        case .assign: .assign
        case .remove: .remove
        case .dump: .dump
        case .cluster: .cluster
        case .transfer: .transfer
        case .describe: .describe
        case .weight: .weight
        }
    }

    /// The whole message, header included.
    ///
    /// - Throws: `misuse` when a value cannot be put on the wire.
    public func encoded() throws(DqliteError) -> [UInt8] {
        var body = WireEncoder()
        switch self {
        case .leader, .describe:
            body.integer(UInt64(0))
        case .client(let number), .weight(let number), .remove(let number), .transfer(let number):
            body.integer(number)
        case .open(let name):
            try body.text(name)
            // Flags and VFS name: read by no version.
            body.integer(UInt64(0))
            try body.text("")
        case .prepare(let database, let sql):
            body.integer(UInt64(database))
            try body.text(sql)
        case .exec(let database, let statement, let parameters), .query(let database, let statement, let parameters):
            body.integer(database)
            body.integer(statement)
            try body.parameters(parameters)
        case .finalize(let database, let statement):
            body.integer(database)
            body.integer(statement)
        case .execSQL(let database, let sql, let parameters), .querySQL(let database, let sql, let parameters):
            body.integer(UInt64(database))
            try body.text(sql)
            try body.parameters(parameters)
        case .interrupt(let database):
            body.integer(UInt64(database))
        case .connect(let id, let address), .add(let id, let address):
            body.integer(id)
            try body.text(address)
        case .assign(let id, let role):
            body.integer(id)
            body.integer(role.rawValue)
        case .dump(let name):
            try body.text(name)
        case .cluster(let format):
            body.integer(format.rawValue)
        }
        return try WireEncoder.message(type: type.rawValue, body: body)
    }
}
