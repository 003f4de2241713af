import FoundationEssentials
import Glibc
import Platform
import Synchronization

/// A laboratory with the product in it: network, nodes, and the witnesses of what they do.
public final class LabCluster: Sendable {
    public let network: Network
    /// The first is node 1.
    public let nodes: [LabNode]
    public let witness: Witness
    public let arp: ARPCapture
    public let vip: IPAddress
    /// The VIP as the API takes it.
    public var vipText: String {
        "\(vip)/\(vip.family == .v4 ? Network.prefixLength : Network.prefixLength6)"
    }

    private let responders: Responders
    private let prober = Mutex<Prober?>(nil)

    /// Builds the network; nothing of the product is started.
    ///
    /// `binary`: nil takes the one of `Product.locate`.
    /// `family`: of the VIP. The nodes reach each other by IPv4.
    public init(nodes count: Int, binary: String? = nil, family: IPAddress.Family = .v4) throws {
        let binary = try binary ?? Product.locate()
        let network = try Network(servers: count, family: family)
        vip = family == .v4 ? Network.vip : Network.vip6
        do {
            self.network = network
            let disk = try SlowDisk.asked(directory: network.directory)
            nodes = try network.servers.enumerated().map { index, namespace in
                try LabNode(
                    number: index + 1, namespace: namespace, directory: "\(network.directory)/node\(index + 1)",
                    binary: binary, environment: disk?.environment ?? [:])
            }
            witness = try Witness(network.servers)
            arp = try ARPCapture(network.client, interface: Network.interface)
            responders = try Responders(network.servers, family: family)
        } catch {
            network.close()
            throw error
        }
    }

    /// Node 1...n.
    public subscript(number: Int) -> LabNode { nodes[number - 1] }

    /// The kernels' own lists of addresses, asked now, for messages.
    public var whoHasIt: String {
        nodes.map { node in
            let text = (try? ToolCommand.check(["ip", "-n", node.namespace.name, "-o", "address"])) ?? "unknown"
            let lines = text.split(separator: "\n").filter { $0.contains(Network.interface) }
            return "node \(node.number): \(lines.joined(separator: " | "))"
        }.joined(separator: "; ") + "; the witness lost events \(witness.overruns) times"
    }

    /// The cluster addresses of all nodes, sorted as texts.
    public var clusterAddresses: [String] { nodes.map { "\($0.clusterAddress)" }.sorted() }

    /// Ends everything and removes it.
    public func close() {
        stopWatching()
        network.close()
    }

    /// Lets go without ending anything, for somebody who wants to look around.
    public func keep() throws {
        stopWatching()
        try network.keep()
    }

    private func stopWatching() {
        stopProbe()
        responders.stop()
        arp.stop()
        witness.stop()
    }

    deinit { close() }

    /// The probe of the VIP, started by the first call.
    @discardableResult
    public func startProbe() throws -> Prober {
        try prober.withLock { prober in
            if let prober { return prober }
            let made = try Prober(network.client, target: vip)
            prober = made
            return made
        }
    }

    /// Ends the probe; `startProbe` begins a new one.
    public func stopProbe() {
        prober.withLock { prober in
            prober?.stop()
            prober = nil
        }
    }

    /// Starts the same command line on all nodes.
    public func startAll(_ options: StartOptions) throws {
        for node in nodes { try node.start(options) }
    }

    // MARK: Conditions

    /// What the nodes of a formed cluster say in agreement.
    public struct Formation: Sendable {
        public var clusterID: String
        public var leaderID: UInt64
        /// The leading node, 1...n.
        public var leader: Int
        public var members: Set<NodeStatus.Member>
        /// By node number.
        public var statuses: [Int: NodeStatus]

        public var voters: Int { members.count { $0.role == "voter" } }
        /// Cluster addresses, sorted as texts.
        public var addresses: [String] { members.map(\.address).sorted() }
        /// The member whose cluster port is that of a node.
        public func member(_ node: LabNode) -> NodeStatus.Member? {
            members.first { $0.address == "\(node.clusterAddress)" }
        }
    }

    /// Waits until these nodes, and no others, are one formed cluster under one leader, and all say the same of it.
    ///
    /// `numbers`: nil means all nodes.
    /// `memberCount`: nil means that these nodes are all members.
    /// `interval`: pause between two looks; a look at many nodes costs them some milliseconds of processor time.
    public func formation(
        of numbers: [Int]? = nil, memberCount: Int? = nil, within limit: Duration = .seconds(15),
        every interval: Duration = .milliseconds(20)
    ) async throws -> Formation {
        let numbers = numbers ?? nodes.map(\.number)
        let expected = memberCount ?? numbers.count
        let last = Mutex("")
        return try await eventually(
            "cluster of \(expected) formed by nodes \(numbers)", within: limit, every: interval,
            state: { last.withLock { $0 } }
        ) {
            var statuses: [Int: NodeStatus] = [:]
            for number in numbers { statuses[number] = try await self[number].status(within: .seconds(2)) }
            last.withLock { $0 = Self.summary(statuses) }
            return Self.agreement(statuses, memberCount: expected)
        }
    }

    static func agreement(_ statuses: [Int: NodeStatus], memberCount: Int) -> Formation? {
        let values = Array(statuses.values)
        guard let first = values.first, let clusterID = first.clusterID, !clusterID.isEmpty,
            values.allSatisfy({
                $0.isFormed && $0.clusterID == clusterID && $0.leaderID == first.leaderID
                    && Set($0.members) == Set(first.members)
            }),
            first.members.count == memberCount,
            let leader = statuses.first(where: { $0.value.isLeader && $0.value.id == first.leaderID })?.key,
            values.count(where: \.isLeader) == 1
        else { return nil }
        return Formation(
            clusterID: clusterID, leaderID: first.leaderID, leader: leader, members: Set(first.members),
            statuses: statuses)
    }

    private static func summary(_ statuses: [Int: NodeStatus]) -> String {
        statuses.sorted { $0.key < $1.key }.map { number, status in
            "node \(number): \(status.state ?? "no state"), leader \(status.leaderID), "
                + "cluster \(status.clusterID ?? "none"), members "
                + status.members.map { "\($0.id) \($0.address) \($0.role)" }.sorted().joined(separator: ", ")
        }.joined(separator: "; ")
    }

    /// Waits until exactly one node has the VIP, by the kernels' word.
    ///
    /// `node`: not this one; nil accepts any.
    public func holder(otherThan node: Int? = nil, within limit: Duration = .seconds(10)) async throws -> Int {
        try await eventually(
            "single holder of the VIP" + (node.map { " other than node \($0)" } ?? ""), within: limit,
            every: .milliseconds(2), state: { "held by nodes \(self.witness.holders(of: self.vip))" }
        ) {
            let holders = witness.holders(of: vip)
            return holders.count == 1 && holders.first != node ? holders.first : nil
        }
    }

    /// Waits until that node, and nobody else, has the VIP. A host whose daemon and guard were killed may have it for a
    /// second more.
    public func held(by node: Int, within limit: Duration = .seconds(10)) async throws {
        try await eventually(
            "the VIP at node \(node)", within: limit, every: .milliseconds(2),
            state: { "held by nodes \(self.witness.holders(of: self.vip))" }
        ) { witness.holders(of: vip) == [node] }
    }

    /// Sets the VIP through a node, and waits until one node holds it.
    ///
    /// Gives the holder.
    @discardableResult
    public func setVIP(throughNode number: Int = 1) async throws -> Int {
        let response = try await self[number].setVIP(vipText)
        guard response.status == 202 else { throw LabError("PUT /vip: \(response.status) \(response.message)") }
        return try await holder()
    }

    /// Whether every running node says that it belongs to the formed cluster.
    public var isFormedWhereRunning: Bool {
        get async throws {
            for node in nodes where node.guardPID != nil {
                guard try await node.status(within: .seconds(1)).isFormed else { return false }
            }
            return true
        }
    }

    /// Waits until one node has held the VIP for `time`, the client gets its answers from it, and all is ready.
    ///
    /// `isReady`: nil asks `isFormedWhereRunning`.
    /// Gives the holder.
    public func settled(
        for time: Duration, within limit: Duration = .seconds(30), isReady: (() async throws -> Bool)? = nil
    ) async throws -> Int {
        let prober = try startProbe()
        var since: (holders: [Int], at: BootInstant)?
        return try await eventually(
            "settled cluster", within: limit, every: .milliseconds(10),
            state: {
                "held by \(self.witness.holders(of: self.vip)), last answer of "
                    + (prober.lastReply.map { "node \($0.node)" } ?? "nobody")
            }
        ) {
            let now = BootClock.now
            let holders = witness.holders(of: vip)
            guard holders.count == 1, let reply = prober.lastReply, holders == [reply.node],
                reply.receivedAt.duration(to: now) < .milliseconds(200)
            else {
                since = nil
                return nil
            }
            if since?.holders != holders { since = (holders, now) }
            guard let start = since?.at, start.duration(to: now) >= time else { return nil }
            // A fail-over starts from rest only when every voter is there to take part.
            let ready = if let isReady { try await isReady() } else { try await isFormedWhereRunning }
            if !ready { since = nil }
            return ready ? holders.first : nil
        }
    }
}
