import CDqlite
import Glibc
import Platform
import Synchronization

/// The C object of a running node, with what has to live as long as it does.
///
/// Sendable because it is only a pair of pointers that are never written; `DqliteNode` hands it to one thread at a
/// time, and libdqlite's own threads are behind it.
struct NodeHandle: @unchecked Sendable {
    /// libdqlite numbers its VFS names with a counter that it does not guard.
    static let creating = Mutex<Void>(())

    private let node: OpaquePointer
    private let connector: Unmanaged<ConnectBox>?

    /// Creates, configures and starts, blocking.
    static func start(
        _ configuration: DqliteNode.Configuration
    ) throws(DqliteError) -> (NodeHandle, DqliteAddress) {
        try NodeConfigurationCheck.check(configuration)
        try FailureLatch.check()
        var created: OpaquePointer?
        if let limit = configuration.statementLimit {
            try SQLGuard.install(limit: limit, tables: configuration.readableTables)
        }
        let rv = creating.withLock { _ in
            dqlite_node_create(configuration.id, configuration.address, configuration.directory, &created)
        }
        guard rv == 0, let node = created else {
            let error = NodeFailure.create(rv, message: message(of: created), directory: configuration.directory)
            FailureLatch.close(error)
            throw error
        }
        let connector = configuration.connect.map { Unmanaged.passRetained(ConnectBox(connect: $0)) }
        do throws(DqliteError) {
            let handle = NodeHandle(node: node, connector: connector)
            return (handle, try handle.configureAndStart(configuration))
        } catch {
            // Neither the node nor the box is freed: after a failed start libdqlite's loop may still refer to both.
            FailureLatch.close(error)
            throw error
        }
    }

    private func configureAndStart(_ configuration: DqliteNode.Configuration) throws(DqliteError) -> DqliteAddress {
        try check("bind", dqlite_node_set_bind_address(node, "@"))
        guard let text = dqlite_node_get_bind_address(node).map({ String(cString: $0) }), text.first == "@" else {
            throw DqliteError(.nodeStart, "libdqlite names no abstract socket that it is bound to")
        }
        let name = String(text.dropFirst())
        // libdqlite 1.11 opens it without close-on-exec, and a child would keep the name taken.
        ListenerDescriptors.setCloseOnExec(abstractName: name)
        if let connector {
            try check(
                "set the connect function of",
                dqlite_node_set_connect_func(
                    node,
                    { box, address, descriptor in
                        guard let box, let address, let descriptor else { return 1 }
                        return Unmanaged<ConnectBox>.fromOpaque(box).takeUnretainedValue().call(address, descriptor)
                    }, connector.toOpaque()))
        }
        let latency = UInt32(clamping: configuration.networkLatency.inMilliseconds)
        try check("set the network latency of", dqlite_node_set_network_latency_ms(node, latency))
        try check("set the failure domain of", dqlite_node_set_failure_domain(node, configuration.failureDomain))
        if let threshold = configuration.snapshotThreshold, let trailing = configuration.snapshotTrailing {
            try check("set the snapshots of", dqlite_node_set_snapshot_params(node, threshold, trailing))
        }
        let rv = dqlite_node_start(node)
        guard rv == 0 else {
            throw NodeFailure.start(rv, message: Self.message(of: node), directory: configuration.directory)
        }
        return .abstractSocket(name)
    }

    /// Stops, blocking, and frees everything when that succeeded.
    func stopAndDestroy() -> DqliteError? {
        let rv = dqlite_node_stop(node)
        guard rv == 0 else {
            return DqliteError(
                .nodeStop, NodeFailure.text(rv, Self.message(of: node)), rawCode: UInt64(truncatingIfNeeded: rv),
                remedy: "end the process")
        }
        dqlite_node_destroy(node)
        connector?.release()
        return nil
    }

    private func check(_ what: String, _ rv: Int32) throws(DqliteError) {
        guard rv == 0 else {
            throw DqliteError(
                .nodeStart, "cannot \(what) the node: \(NodeFailure.text(rv, Self.message(of: node)))",
                rawCode: UInt64(truncatingIfNeeded: rv))
        }
    }

    private static func message(of node: OpaquePointer?) -> String {
        guard let node, let text = dqlite_node_errmsg(node) else { return "" }
        return String(cString: text)
    }
}

/// What libdqlite calls to dial another node.
private final class ConnectBox: Sendable {
    private let connect: DqliteNode.Configuration.Connect

    init(connect: @escaping DqliteNode.Configuration.Connect) { self.connect = connect }

    func call(_ address: UnsafePointer<CChar>, _ descriptor: UnsafeMutablePointer<Int32>) -> Int32 {
        switch connect(String(cString: address)) {
        case .success(let socket):
            descriptor.pointee = socket
            return 0
        case .failure:
            // libraft only knows that it failed, and tries again after a second.
            return 1
        }
    }
}

/// Remembers for the whole process that libdqlite failed to create or start a node.
enum FailureLatch {
    private static let failure = Mutex<DqliteError?>(nil)

    static func close(_ error: DqliteError) {
        failure.withLock { $0 = $0 ?? error }
    }

    static func check() throws(DqliteError) {
        guard let earlier = failure.withLock({ $0 }) else { return }
        throw DqliteError(
            .nodeCreate, "libdqlite has failed in this process before, and would crash if it were asked again",
            rawCode: earlier.rawCode, cause: earlier, remedy: "repair what failed and start the process again")
    }
}
