import Dqlite
import Glibc
import NIOCore
import NIOPosix
import Platform
import Synchronization

/// A directory of its own under /tmp, removed at the end.
func withTemporaryDirectory<T>(_ body: (String) async throws -> T) async throws -> T {
    var template = Array("/tmp/dqlite-tests.\(getpid()).XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError.last("make a temporary directory", "/tmp") }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { removeTree(path) }
    return try await body(path)
}

func removeTree(_ path: String) {
    if let directory = opendir(path) {
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { removeTree(path + "/" + name) }
        }
        closedir(directory)
        rmdir(path)
    } else {
        unlink(path)
    }
}

func entries(of path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Repeats until `condition` holds.
///
/// - Throws: `TimedOut` that names what was waited for.
func eventually(
    _ what: String, within limit: Duration = .seconds(10), _ condition: () async throws -> Bool
) async throws {
    let deadline = BootClock.now.advanced(by: limit)
    while try await !condition() {
        guard BootClock.now < deadline else { throw TimedOut(what: what) }
        try await Task.sleep(for: .milliseconds(5))
    }
}

struct TimedOut: Error, CustomStringConvertible {
    var what: String
    var description: String { "waited in vain: \(what)" }
}

/// Evaluates to the error that `body` throws, for assertions on its parts.
func dqliteError(_ body: () async throws -> Void) async -> DqliteError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? DqliteError
    }
}

/// Nodes of one process that dial each other by names.
final class TestCluster: Sendable {
    static let database = "test"

    struct Member: Sendable {
        var id: DqliteNodeID
        var name: String
        var node: DqliteNode
    }

    private let directory: String
    private let latency: Duration
    private let sockets = Mutex<[String: DqliteAddress]>([:])
    private let relay: Relay?
    private let snapshots: UInt32?
    private let running = Mutex<[Member]>([])
    private let clients = Mutex<[DqliteClient]>([])

    /// What readers may read; nil: SQL is not guarded in this process.
    private let readableTables: Set<String>?

    init(
        directory: String, latency: Duration, relay: Relay?, snapshots: UInt32?, readableTables: Set<String>? = nil
    ) {
        self.readableTables = readableTables
        self.snapshots = snapshots
        self.directory = directory
        self.latency = latency
        self.relay = relay
    }

    /// Runs `body` with a cluster of voters "n1", "n2", …, the first of them the leader; stops all of them after it.
    static func run<T: Sendable>(
        voters: Int, latency: Duration = .milliseconds(20), relay: Relay? = nil, snapshots: UInt32? = nil,
        readableTables: Set<String>? = nil, _ body: (TestCluster) async throws -> T
    ) async throws -> T {
        try await withTemporaryDirectory { directory in
            let cluster = TestCluster(
                directory: directory, latency: latency, relay: relay, snapshots: snapshots,
                readableTables: readableTables)
            do {
                try await cluster.found()
                if voters > 1 {
                    for id in 2...voters { try await cluster.join(DqliteNodeID(id)) }
                }
                let result = try await body(cluster)
                try await cluster.end()
                return result
            } catch {
                try await cluster.end()
                throw error
            }
        }
    }

    func member(_ id: DqliteNodeID) throws -> Member {
        guard let member = running.withLock({ $0.first { $0.id == id } }) else { throw TimedOut(what: "member \(id)") }
        return member
    }

    func path(_ id: DqliteNodeID) -> String { "\(directory)/n\(id)" }

    func start(_ id: DqliteNodeID) async throws {
        let name = "n\(id)"
        mkdir(path(id), 0o700)
        let node = DqliteNode(
            configuration: .init(
                id: id, address: name, directory: path(id), networkLatency: latency, failureDomain: 40 + id,
                snapshotThreshold: snapshots, snapshotTrailing: snapshots,
                statementLimit: readableTables == nil ? nil : .milliseconds(90), readableTables: readableTables ?? [],
                connect: { [self] in dial($0) }))
        try await node.start()
        let address = try node.bindAddress
        sockets.withLock { $0[name] = address }
        running.withLock { $0.append(Member(id: id, name: name, node: node)) }
    }

    func stop(_ id: DqliteNodeID) async throws {
        let member = try member(id)
        running.withLock { $0.removeAll { $0.id == id } }
        sockets.withLock { $0[member.name] = nil }
        try await member.node.stop()
    }

    /// A connection that `end` closes.
    func client(_ id: DqliteNodeID, open: Bool = false) async throws -> DqliteClient {
        try await client(named: "n\(id)", open: open)
    }

    func client(named name: String, open: Bool = false, timeout: Duration = .seconds(10)) async throws -> DqliteClient {
        guard let address = sockets.withLock({ $0[name] }) else {
            throw DqliteError(.connectFailed, "nobody is called \(name)")
        }
        let client = try await DqliteClient.connect(
            to: address, on: MultiThreadedEventLoopGroup.singleton, timeout: timeout)
        clients.withLock { $0.append(client) }
        if open { try await client.open(Self.database) }
        return client
    }

    func leaderConnection() -> LeaderConnection {
        LeaderConnection(addresses: running.withLock { $0.map(\.name) }, database: Self.database) { [self] in
            try await client(named: $0, timeout: $1)
        }
    }

    func waitForLeader(_ id: DqliteNodeID, seenBy asked: DqliteNodeID) async throws {
        let client = try await client(asked)
        try await eventually("node \(asked) names \(id) as leader") { try await client.leader()?.id == id }
    }

    private func found() async throws {
        try await start(1)
        try await waitForLeader(1, seenBy: 1)
    }

    private func join(_ id: DqliteNodeID) async throws {
        try await start(id)
        let leader = try await client(1)
        try await leader.add(id: id, address: "n\(id)")
        try await leader.assign(id: id, role: .voter)
        try await waitForLeader(1, seenBy: id)
    }

    private func dial(_ name: String) -> Result<Int32, SystemError> {
        guard case .abstractSocket(let socket) = sockets.withLock({ $0[name] }) else {
            return .failure(SystemError("dial", name, errno: ECONNREFUSED))
        }
        do throws(SystemError) {
            let descriptor = try DqliteSocket.connect(abstractName: socket)
            return .success(try relay?.insert(before: descriptor) ?? descriptor)
        } catch {
            return .failure(error)
        }
    }

    private func end() async throws {
        for client in clients.withLock({ $0 }) { await client.close() }
        for member in running.withLock({ $0 }).reversed() { try await stop(member.id) }
    }
}

/// Stands between two nodes and shows every chunk that passes, each connection on a thread of its own.
final class Relay: Sendable {
    typealias Observe = @Sendable (_ connection: Int, _ chunk: UnsafeRawBufferPointer) -> Void

    private let observe: Observe
    private let threads = NIOThreadPool(numberOfThreads: 16)
    private let count = Atomic<Int>(0)

    init(observe: @escaping Observe) {
        self.observe = observe
        threads.start()
    }

    func stop() async throws {
        try await threads.shutdownGracefully()
    }

    /// The other end of a socket pair whose bytes are copied to `target`; both ends close with each other.
    func insert(before target: Int32) throws(SystemError) -> Int32 {
        var pair: [Int32] = [-1, -1]
        try retryingOnInterrupt("make a socket pair") {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair)
        }
        let near = pair[1]
        let connection = count.add(1, ordering: .relaxed).newValue
        // The copy blocks in both directions.
        _ = fcntl(target, F_SETFL, 0)
        let observe = observe
        threads.submit { _ in
            var chunk = [UInt8](repeating: 0, count: 1000)
            copying: while true {
                let count = chunk.withUnsafeMutableBytes { read(near, $0.baseAddress, $0.count) }
                if count <= 0 { break }
                chunk.withUnsafeBytes { observe(connection, UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                var sent = 0
                while sent < count {
                    let written = chunk.withUnsafeBytes {
                        send(target, $0.baseAddress?.advanced(by: sent), count - sent, Int32(MSG_NOSIGNAL))
                    }
                    if written <= 0 { break copying }
                    sent += written
                }
            }
            close(near)
            close(target)
        }
        return pair[0]
    }
}
