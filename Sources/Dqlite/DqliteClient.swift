import NIOCore
import NIOPosix
import Platform
import Synchronization

/// A connection to one node, speaking the wire protocol.
///
/// Requests go one at a time; callers wait in their order. Each has a deadline that counts from the call. When it
/// passes while the request is with the node, the connection is closed, because a late answer would be taken for the
/// next one's; every later call fails with `connectionClosed`.
///
/// All methods throw `DqliteError`.
public actor DqliteClient {
    /// What a connection is made with.
    public struct Options: Sendable {
        /// Of each request that names none.
        public var timeout: Duration
        /// The longest answer accepted, all its messages together, in bytes.
        public var answerLimit: Int

        public init(timeout: Duration = .seconds(5), answerLimit: Int = 64 << 20) {
            self.timeout = timeout
            self.answerLimit = answerLimit
        }
    }

    public nonisolated let address: DqliteAddress
    private let options: Options
    private nonisolated let channel: any Channel
    private let handler: NIOLoopBound<ClientHandler>
    private var lastID: ClientCore.RequestID = 0
    private var database: UInt32 = 0
    /// The statements that the node surely has, by id. libdqlite 1.11 crashes when it is asked for another one.
    private var statements: [UInt32: Statement] = [:]
    private var lastStatement: UInt64 = 0
    /// How many requests with a possible effect have ended other than by surely not being executed.
    private(set) var effects = 0

    private init(
        _ address: DqliteAddress, _ options: Options, _ channel: any Channel, _ handler: NIOLoopBound<ClientHandler>
    ) {
        self.address = address
        self.options = options
        self.channel = channel
        self.handler = handler
    }

    /// Connects and sends the protocol version, which a node does not answer.
    ///
    /// `timeout` is the limit of the connecting, and of each request that names none. Throws `connectFailed`.
    public static func connect(
        to address: DqliteAddress, on group: any EventLoopGroup, timeout: Duration = .seconds(5)
    ) async throws -> DqliteClient {
        try await connect(to: address, on: group, options: Options(timeout: timeout))
    }

    /// Connects with more to choose.
    public static func connect(
        to address: DqliteAddress, on group: any EventLoopGroup, options: Options
    ) async throws -> DqliteClient {
        let answerLimit = options.answerLimit
        do {
            let channel: any Channel
            switch address {
            case .abstractSocket(let name):
                let descriptor = try await connectedSocket(name, within: options.timeout)
                channel = try await ClientBootstrap(group: group).withConnectedSocket(descriptor).get()
            case .tcp(let hostPort):
                channel = try await connect(hostPort, on: group, within: options.timeout)
            }
            let handler = try await channel.eventLoop.submit {
                let handler = ClientHandler(answerLimit: answerLimit)
                try channel.pipeline.syncOperations.addHandler(handler)
                return NIOLoopBound(handler, eventLoop: channel.eventLoop)
            }.get()
            var greeting = ByteBuffer()
            greeting.writeInteger(WireRequest.protocolVersion, endianness: .little)
            try await channel.writeAndFlush(greeting).get()
            return DqliteClient(address, options, channel, handler)
        } catch let error as CancellationError {
            throw DqliteError(.cancelled, "no connection to \(address)", cause: error)
        } catch {
            throw DqliteError(.connectFailed, "no connection to \(address)", cause: error)
        }
    }

    /// A cancelled task does not wait for the connection: NIO alone would.
    private static func connect(
        _ address: HostPort, on group: any EventLoopGroup, within timeout: Duration
    ) async throws -> any Channel {
        let attempt = Mutex<(channel: (any Channel)?, isCancelled: Bool)>((nil, false))
        return try await withTaskCancellationHandler {
            try await ClientBootstrap(group: group)
                .connectTimeout(.nanoseconds(timeout.inNanoseconds))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    let isCancelled = attempt.withLock {
                        $0.channel = channel
                        return $0.isCancelled
                    }
                    return isCancelled
                        ? channel.eventLoop.makeFailedFuture(CancellationError())
                        : channel.eventLoop.makeSucceededVoidFuture()
                }
                .connect(host: address.host, port: Int(address.port)).get()
        } onCancel: {
            let channel = attempt.withLock {
                $0.isCancelled = true
                return $0.channel
            }
            channel?.close(promise: nil)
        }
    }

    /// Repeats while the listener's queue is full, which is the only thing that a unix connect waits for.
    private static func connectedSocket(_ name: String, within timeout: Duration) async throws -> Int32 {
        let deadline = BootClock.now.advanced(by: timeout)
        while true {
            do throws(SystemError) {
                return try DqliteSocket.connect(abstractName: name)
            } catch {
                guard error.errno == EAGAIN, BootClock.now < deadline else { throw error }
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Whether requests can be sent: nobody has closed the connection yet.
    public nonisolated var isOpen: Bool { channel.isActive }

    /// Closes the connection. What waits on it fails with `connectionClosed`.
    public func close() async {
        let handler = handler
        channel.eventLoop.execute { handler.value.finish(DqliteError(.connectionClosed, "closed by its owner")) }
        // The future fails only when the channel could not be closed cleanly; closed it is all the same.
        try? await channel.closeFuture.get()
    }

    // MARK: - Database

    /// Opens the database; the connection works on it from then on. A second one is refused with `busy`.
    public func open(_ name: String, timeout: Duration? = nil) async throws {
        guard case .database(let id) = try await call(.open(name: name), timeout) else { throw Self.unexpected() }
        database = id
        // Only a connection that lost its database, and its statements with it, can open one again.
        statements = [:]
    }

    /// A prepared statement of one connection.
    public struct Statement: Hashable, Sendable {
        public let id: UInt32
        /// Tells it from an earlier statement with the same id.
        fileprivate let serial: UInt64
        fileprivate let connection: ObjectIdentifier
        /// How many parameters it takes.
        public let parameterCount: UInt64
    }

    /// Prepares the first statement of `sql`; what follows it is dropped.
    public func prepare(_ sql: String, timeout: Duration? = nil) async throws -> Statement {
        guard case .statement(let id, let count) = try await call(.prepare(database: database, sql: sql), timeout)
        else {
            throw Self.unexpected()
        }
        lastStatement += 1
        let statement = Statement(
            id: id, serial: lastStatement, connection: ObjectIdentifier(self), parameterCount: count)
        statements[id] = statement
        return statement
    }

    /// Frees a prepared statement.
    public func finalize(_ statement: Statement, timeout: Duration? = nil) async throws {
        try check(statement)
        statements[statement.id] = nil
        _ = try await call(.finalize(database: database, statement: statement.id), timeout)
    }

    /// Executes a prepared statement on the leader.
    @discardableResult
    public func exec(
        _ statement: Statement, _ parameters: [DqliteValue] = [], timeout: Duration? = nil
    ) async throws -> (lastInsertID: Int64, rowsAffected: UInt64) {
        try check(statement)
        return try await result(.exec(database: database, statement: statement.id, parameters: parameters), timeout)
    }

    /// Queries with a prepared statement on the leader.
    public func query(
        _ statement: Statement, _ parameters: [DqliteValue] = [], timeout: Duration? = nil
    ) async throws -> DqliteRows {
        try check(statement)
        return try await rows(.query(database: database, statement: statement.id, parameters: parameters), timeout)
    }

    /// - Throws: `noDatabase`, as the node should, for a statement that this connection does not have (any more).
    private func check(_ statement: Statement) throws(DqliteError) {
        guard statements[statement.id] == statement else {
            throw DqliteError(.noDatabase, "no statement with the id \(statement.id) is prepared on this connection")
        }
    }

    /// Executes SQL on the leader; the answer is that of the last statement, the parameters are the first one's.
    @discardableResult
    public func execute(
        _ sql: String, _ parameters: [DqliteValue] = [], timeout: Duration? = nil
    ) async throws -> (lastInsertID: Int64, rowsAffected: UInt64) {
        try await result(.execSQL(database: database, sql: sql, parameters: parameters), timeout)
    }

    /// Queries on the leader, however many messages the rows take.
    public func query(
        _ sql: String, _ parameters: [DqliteValue] = [], timeout: Duration? = nil
    ) async throws -> DqliteRows {
        try await rows(.querySQL(database: database, sql: sql, parameters: parameters), timeout)
    }

    /// Sent between requests, where it is harmless and without effect: a client has one request at a time.
    public func interrupt(timeout: Duration? = nil) async throws {
        _ = try await call(.interrupt(database: database), timeout)
    }

    /// The asked node's copy of a database: the file, and its write-ahead log.
    public func dump(_ database: String, timeout: Duration? = nil) async throws -> [WireResponse.File] {
        guard case .files(let files) = try await call(.dump(name: database), timeout) else { throw Self.unexpected() }
        return files
    }

    // MARK: - Cluster

    /// Who leads, as the asked node knows; nil when it knows nobody, and always on stand-bys and spares.
    public func leader(timeout: Duration? = nil) async throws -> (id: DqliteNodeID, address: String)? {
        guard case .server(let id, let address) = try await call(.leader, timeout) else { throw Self.unexpected() }
        return id == 0 ? nil : (id, address)
    }

    /// Tells the node a number for this client, which it ignores.
    ///
    /// - Returns: the node's heartbeat time-out, on which nothing acts.
    @discardableResult
    public func client(id: UInt64 = 0, timeout: Duration? = nil) async throws -> Duration {
        guard case .welcome(let milliseconds) = try await call(.client(id: id), timeout) else {
            throw Self.unexpected()
        }
        return .milliseconds(Int64(clamping: milliseconds))
    }

    /// The members, as the asked node knows them. In the format without roles every member is given as a voter.
    public func cluster(
        format: WireRequest.ClusterFormat = .withRoles, timeout: Duration? = nil
    ) async throws -> [DqliteMember] {
        guard case .servers(let members) = try await call(.cluster(format: format), timeout) else {
            throw Self.unexpected()
        }
        return members
    }

    /// Adds a member, as a spare. Only on the leader.
    ///
    /// - Throws: `membership` when the id or the address is taken, `busy` during another change.
    public func add(id: DqliteNodeID, address: String, timeout: Duration? = nil) async throws {
        _ = try await call(.add(id: id, address: address), timeout)
    }

    /// Gives a member a role, and waits until it has caught up. Only on the leader.
    ///
    /// A member that cannot be reached blocks this, and every other change, for 50 s: look first whether it answers.
    ///
    /// - Throws: `membership` when the id is unknown or the role is the one it has.
    public func assign(id: DqliteNodeID, role: DqliteRole, timeout: Duration? = nil) async throws {
        _ = try await call(.assign(id: id, role: role), timeout)
    }

    /// Removes a member. Only on the leader.
    ///
    /// - Throws: `membership` when the id is unknown.
    public func remove(id: DqliteNodeID, timeout: Duration? = nil) async throws {
        _ = try await call(.remove(id: id), timeout)
    }

    /// Gives leadership to a voter; returns when this node has stopped leading. Only on the leader.
    ///
    /// The id 0 lets raft choose. Throws `membership` when the voter did not take it within an election time-out.
    public func transfer(to id: DqliteNodeID = 0, timeout: Duration? = nil) async throws {
        _ = try await call(.transfer(id: id), timeout)
    }

    /// The failure domain and the weight of the asked node.
    public func describe(timeout: Duration? = nil) async throws -> (failureDomain: UInt64, weight: UInt64) {
        guard case .metadata(let domain, let weight) = try await call(.describe, timeout) else {
            throw Self.unexpected()
        }
        return (domain, weight)
    }

    /// Sets the weight of the asked node, until it restarts.
    public func setWeight(_ weight: UInt64, timeout: Duration? = nil) async throws {
        _ = try await call(.weight(weight), timeout)
    }

    // MARK: -

    private func result(
        _ request: WireRequest, _ timeout: Duration?
    ) async throws -> (lastInsertID: Int64, rowsAffected: UInt64) {
        guard case .result(let id, let rows) = try await call(request, timeout) else { throw Self.unexpected() }
        return (id, rows)
    }

    private func rows(_ request: WireRequest, _ timeout: Duration?) async throws -> DqliteRows {
        guard case .rows(let rows, _) = try await call(request, timeout) else { throw Self.unexpected() }
        return rows
    }

    private func call(_ request: WireRequest, _ timeout: Duration?) async throws -> WireResponse {
        let bytes = try request.encoded()
        lastID += 1
        let id = lastID
        let loop = channel.eventLoop
        let handler = handler
        let promise = loop.makePromise(of: WireResponse.self)
        let limit = TimeAmount.nanoseconds(max(0, (timeout ?? options.timeout).inNanoseconds))
        loop.execute { handler.value.submit(id, request, bytes: bytes, timeout: limit, promise: promise) }
        do {
            let response = try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                loop.execute { handler.value.giveUp(id, .cancelled) }
            }
            if request.mayHaveEffect { effects += 1 }
            return response
        } catch {
            if (error as? DqliteError)?.code == .noDatabase { statements = [:] }
            if (error as? DqliteError)?.mayHaveBeenExecuted != false { effects += 1 }
            throw error
        }
    }

    /// `WireResponse` accepts only the types that answer the request, so this does not happen.
    private static func unexpected() -> DqliteError {
        DqliteError(.protocolViolation, "the answer is of the wrong kind")
    }
}
