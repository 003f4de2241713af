import Dqlite
import FoundationEssentials
import NIOPosix
import Platform

/// Makes a cluster of one out of a member whose cluster has lost its majority for ever (`dqlite-vip recover`).
///
/// The node keeps its identity and its data, and is the only voter of a cluster with a new id. The id is what keeps the members
/// before out: they know nothing of the recovery, and their log could win against this one. Each of them has to be emptied,
/// and joins as a new node then.
public struct Recovery: Sendable {
    /// Why it cannot be done; for a person, with what to do.
    public struct Refused: Error, Sendable, CustomStringConvertible {
        public var description: String

        public init(description: String) { self.description = description }
    }

    private let data: DataDirectory
    private let record: NodeRecord
    /// The cluster that the node belongs to as it is.
    public let clusterID: ClusterID
    public let newClusterID: ClusterID
    /// What the raft directory holds.
    public let log: RaftLog
    /// Where the others will reach this node.
    public let address: HostPort
    /// What is wrong with the log, each a sentence; not empty: part of the data is lost.
    public let damage: [String]

    /// Looks at the data directory of a node that does not run.
    ///
    /// - Parameters:
    ///   - path: `--data-dir`; it is locked for as long as this value lives.
    ///   - address: nil keeps the present one.
    /// - Throws: `Refused`, `DataDirectory.Failure`.
    public init(directory path: String, address: HostPort? = nil) throws {
        guard Directory.exists(path + "/node.json") else {
            throw Refused(description: "there is no node in \(path): it has no node.json; name another with --data-dir")
        }
        data = try Self.locked(path)
        guard let record = try data.loadRecord() else {
            throw Refused(description: "there is no node in \(path): it has no node.json; name another with --data-dir")
        }
        guard case .formed(let clusterID) = record.state else {
            throw Refused(
                description:
                    "\(path) belongs to no formed cluster, so there is nothing to recover: empty it and start the "
                    + "node again")
        }
        let log = try data.readRaft()
        guard !log.isEmpty else {
            throw Refused(
                description: "\(data.raftDirectory) is empty: there are no data to recover here; look at another node")
        }
        self.record = record
        self.clusterID = clusterID
        self.log = log
        self.address = address ?? record.address
        var generator = SystemRandomNumberGenerator()
        newClusterID = ClusterID(using: &generator)
        var damage = log.faults.map(\.description)
        if let mark = try data.loadMark(), mark.dqliteID == record.dqliteID, let objection = mark.objection(to: log) {
            damage.append("\(data.raftDirectory) \(objection)")
        }
        self.damage = damage
        guard let own = log.members.first(where: { $0.id == record.dqliteID }) else {
            // Of a damaged log the list may be what is missing.
            if !damage.isEmpty { return }
            throw Refused(
                description:
                    "this node (\(record.dqliteID)) is no member of its cluster any more: its data are old; look "
                    + "at another node")
        }
        if own.role == .spare {
            throw Refused(description: "this node is a spare, which does not get the data: look at another node")
        }
    }

    private static func locked(_ path: String) throws -> DataDirectory {
        do throws(DataDirectory.Failure) {
            return try DataDirectory(path)
        } catch {
            switch error.code {
            case .locked: throw Refused(description: "\(error.description.prefix { $0 != ":" }): stop it first")
            case .untrusted: throw Refused(description: error.description)
            case .system, .corrupt, .version, .otherOwner, .damaged: throw error
            }
        }
    }

    /// The dqlite id of this node.
    public var dqliteID: UInt64 { record.dqliteID }
    public var clusterName: String { record.clusterName }
    public var path: String { data.path }

    /// The members besides this node.
    public var others: [RaftConfiguration.Member] { log.members.filter { $0.id != record.dqliteID } }

    /// Asks the other members whether they run. While one does, its cluster may be alive, and hold the address.
    ///
    /// - Returns: the addresses that answer for the cluster as it was.
    public func running() async -> [HostPort] {
        let group = MultiThreadedEventLoopGroup.singleton
        let view = NodeView(
            nodeID: record.nodeID, name: "", dqliteID: record.dqliteID, generation: record.generation,
            address: record.address, clusterName: record.clusterName, expect: nil, nonVoter: true, phase: .formed,
            clusterID: clusterID)
        let clusterID = clusterID
        return await withTaskGroup(of: HostPort?.self) { tasks in
            for member in others {
                guard let address = try? HostPort(parsing: member.address) else { continue }
                tasks.addTask {
                    let reply = try? await PeerClient(group: group).ask(
                        .peer(.hello(view), timing: nil), of: address, timeout: .seconds(2))
                    guard case .peer(.view(let there)) = reply, there.clusterID == clusterID else { return nil }
                    return address
                }
            }
            var running: [HostPort] = []
            for await address in tasks { if let address { running.append(address) } }
            return running.sorted { $0.description < $1.description }
        }
    }

    // MARK: -

    /// Does it: on a copy of the raft directory, which then takes the place of the present one.
    ///
    /// - Returns: where the raft directory and the node.json of before are kept.
    /// - Throws: `Refused`, `DataDirectory.Failure`, `DqliteError`, `SystemError`. The node is as it was then, unless the message
    ///   says otherwise.
    public func carryOut() async throws -> String {
        let (data, record, address) = (data, record, address)
        let copy = data.recoveringDirectory
        try await BlockingThread.run(named: "recovery") {
            try data.directory.removeWithFiles(DataDirectory.recoveringName)
            try data.directory.copyFiles(of: "raft", to: DataDirectory.recoveringName)
            try RaftSalvage.repair(copy)
            try DqliteRecovery.replaceMembers(
                [DqliteMember(id: record.dqliteID, address: address.description, role: .voter)],
                ofNode: record.dqliteID,
                address: address.description, directory: copy)
        }
        try await renameCluster(inRaftDirectory: copy)
        let time = WallTime.now.description.prefix(19).filter { $0 != "-" && $0 != ":" }
        var recovered = record
        recovered.state = .formed(newClusterID)
        recovered.address = address
        recovered.recovered = .init(clusterID: clusterID, members: others.map(\.address))
        let decided = PendingRecovery(record: recovered, backup: "\(PendingRecovery.backupPrefix)\(time)Z")
        try await BlockingThread.run(named: "recovery") {
            let log = try RaftLog(directory: copy)
            guard log.faults.isEmpty, log.members.map(\.id) == [record.dqliteID] else {
                throw Refused(
                    description: "the recovered copy in \(copy) is not sound: \(log.faults); nothing has changed")
            }
            try OpenDirectory(DataDirectory.recoveringName, in: data.directory).sync()
            try data.decide(decided)
            try data.finishRecovery()
        }
        return data.path + "/" + decided.backup
    }

    /// Writes the new id into the database, and takes the other members out of its list, with a node that only this process
    /// can reach.
    private func renameCluster(inRaftDirectory directory: String) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let node = DqliteNode(
            configuration: .init(
                id: record.dqliteID, address: address.description, directory: directory,
                networkLatency: .milliseconds(5), snapshotThreshold: 256, snapshotTrailing: 256,
                connect: { .failure(SystemError("dial", $0, errno: 111)) }))
        try await node.start()
        let client = try await DqliteClient.connect(to: node.bindAddress, on: group, timeout: .seconds(5))
        do {
            let deadline = BootClock.now.advanced(by: .seconds(10))
            while try await client.leader()?.id != record.dqliteID {
                guard BootClock.now < deadline else {
                    throw Refused(
                        description: "the recovered copy in \(directory) does not lead itself; nothing has changed")
                }
                try await Task.sleep(for: .milliseconds(10))
            }
            try await client.open(Schema.database)
            try await Self.rename(newClusterID, own: record.dqliteID, client)
        } catch {
            await client.close()
            try? await node.stop()
            throw error
        }
        await client.close()
        try await node.stop()
    }

    private static func rename(_ id: ClusterID, own: DqliteNodeID, _ client: DqliteClient) async throws {
        guard
            case .text? = try? await client.query("SELECT value FROM meta WHERE key = 'cluster_id'").rows.first?.first
        else {
            throw Refused(
                description:
                    "what can be read of the log does not hold the database of the cluster: there is nothing to "
                    + "recover here; look at another node, or empty the data directory of all of them and start anew")
        }
        let version = try await client.query("SELECT value FROM meta WHERE key = 'schema_version'").rows.first?.first
        if case .text(let version)? = version, let newer = NewerSchema(found: version) {
            throw Refused(description: "\(newer)")
        }
        try await client.execute("BEGIN IMMEDIATE")
        try await client.execute("UPDATE meta SET value = ? WHERE key = 'cluster_id'", [.text(id.description)])
        try await client.execute("DELETE FROM node WHERE dqlite_id <> ?", [.integer(Int64(bitPattern: own))])
        // Whoever was on the move is no member. An earlier version has no such table, and the next leader makes it.
        try await client.execute("DROP TABLE IF EXISTS moving_node")
        try await client.execute("COMMIT")
    }
}
