import Dqlite
import NIOCore

/// A connection to the local node that is made when it is first needed, and anew after it has ended.
actor NodeConnection {
    private let group: any EventLoopGroup
    private let timeout: Duration
    private let prepare: @Sendable (DqliteClient) async throws -> Void
    private var socket: DqliteAddress?
    private var client: DqliteClient?
    private var connecting: Task<DqliteClient, any Error>?

    /// - Parameters:
    ///   - timeout: of connecting, and of each request that names none.
    ///   - prepare: is done with each new connection before it is used; what it throws, the user of the connection gets.
    init(
        group: any EventLoopGroup, timeout: Duration = .seconds(5),
        prepare: @escaping @Sendable (DqliteClient) async throws -> Void = { _ in }
    ) {
        self.group = group
        self.timeout = timeout
        self.prepare = prepare
    }

    /// Names the local node's socket, or that there is none. Returns when nothing is left of the connection before.
    func use(_ socket: DqliteAddress?) async {
        self.socket = socket
        let (old, pending) = (client, connecting)
        (client, connecting) = (nil, nil)
        pending?.cancel()
        await old?.close()
        if let late = try? await pending?.value { await late.close() }
    }

    /// The connection; callers at the same time get the same one.
    ///
    /// - Throws: `PortFailure` while the local node does not run, `DqliteError`, and what `prepare` throws.
    func connected() async throws -> DqliteClient {
        if let client, client.isOpen { return client }
        let attempt = try connecting ?? connect()
        connecting = attempt
        do {
            let client = try await attempt.value
            if connecting == attempt { (self.client, connecting) = (client, nil) }
            return client
        } catch {
            if connecting == attempt { connecting = nil }
            throw error
        }
    }

    private func connect() throws -> Task<DqliteClient, any Error> {
        guard let socket else {
            throw PortFailure(reason: .notReady, text: "the local database node is not running")
        }
        return Task { [group, timeout, prepare] in
            let client = try await DqliteClient.connect(to: socket, on: group, timeout: timeout)
            do {
                try await prepare(client)
                return client
            } catch {
                await client.close()
                throw error
            }
        }
    }

    /// Ends a connection that is in doubt.
    func drop(_ spent: DqliteClient) async {
        if client === spent { client = nil }
        await spent.close()
    }
}
