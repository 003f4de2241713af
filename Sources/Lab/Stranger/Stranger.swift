import Platform

/// A host on the nodes' wire that has no account, no key and no part in the cluster, and means no good.
///
/// Everything it does leaves from a network namespace of its own, as from another machine.
public struct Stranger: Sendable {
    public let namespace: Namespace

    public init(_ lab: LabCluster) throws {
        namespace = try lab.network.stranger()
    }

    /// Asks a node's cluster port one question as a peer would, in JSON.
    public func ask(_ json: String, of node: LabNode, within limit: Duration = .seconds(3)) async throws -> String {
        let (namespace, address) = (namespace, node.clusterAddress)
        return try await offloading { try PeerWire.ask(json, at: address, in: namespace, within: limit) }
    }

    /// A dqlite client with the database open.
    ///
    /// `limit`: for the whole life of the connection.
    public func client(of node: LabNode, within limit: Duration = .seconds(3)) throws -> DqliteWire {
        let client = try DqliteWire(to: node.clusterAddress, in: namespace, within: limit)
        guard try client.call(.open, DqliteWire.openBody("dqlite-vip")).type == 4 else {
            throw LabError("\(node.clusterAddress) does not open the database for a stranger")
        }
        return client
    }

    /// What a node makes of one SQL text; nil when it ends the connection instead of an answer.
    public func query(
        _ sql: String, _ parameters: [DqliteWire.Parameter] = [], of node: LabNode, within limit: Duration = .seconds(3)
    ) async throws -> DqliteWire.Answer? {
        let stranger = self
        return try await offloading {
            // Who opens no database for strangers has refused all of them.
            guard let client = try? stranger.client(of: node, within: limit) else { return nil }
            return try? client.call(.querySQL, DqliteWire.queryBody(sql, parameters))
        }
    }

    /// Clients that send the same text again and again as fast as they are answered.
    public func clients(_ count: Int, asking sql: String, of nodes: [LabNode]) throws -> Crowd {
        let stranger = self
        return try Crowd(of: count) { member in
            let client = try stranger.client(of: nodes[member.number % nodes.count], within: .seconds(6))
            let body = DqliteWire.queryBody(sql)
            let end = BootClock.now.advanced(by: .seconds(5))
            while !member.isOver, BootClock.now < end { _ = try client.call(.querySQL, body) }
        }
    }

    /// Connections to a node that say the eight bytes of a peer and then nothing; one that ends is replaced by the next.
    ///
    /// They come in five parts, a second apart, so that a node that lets a silent one wait for 5 s never ends more than a fifth of them
    /// at the same time.
    public func silentPeers(_ count: Int, at node: LabNode) throws -> Crowd {
        let (namespace, address) = (namespace, node.clusterAddress)
        let parts = 5
        return try Crowd(of: parts) { member in
            member.pause(.seconds(member.number))
            var held: [TCPConnection] = []
            while !member.isOver {
                held.removeAll(where: \.hasEnded)
                while held.count < count / parts, !member.isOver {
                    let connection = try? TCPConnection(to: address, in: namespace, within: .milliseconds(500))
                    guard let connection, (try? connection.send(PeerWire.magic)) != nil else { break }
                    held.append(connection)
                }
                member.pause(.milliseconds(10))
            }
        }
    }

    /// Peers that send the same question again and again, one connection for each, with a pause between.
    public func peers(
        _ count: Int, sending json: [String], to nodes: [LabNode], pause: Duration = .zero
    ) throws -> Crowd {
        let namespace = namespace
        let frames = json.map { PeerWire.magic + PeerWire.frame($0) }
        return try Crowd(of: count) { member in
            for frame in frames {
                for node in nodes where !member.isOver {
                    let connection = try TCPConnection(to: node.clusterAddress, in: namespace, within: .seconds(2))
                    try connection.send(frame)
                    // Answered or cut off: the next one.
                    _ = try? connection.receive(upTo: 400)
                }
            }
            member.pause(pause)
        }
    }

    /// Sends requests one behind the other and reads no answer, until so many bytes have gone out, the node ends the connection, or
    /// the time is over.
    ///
    /// Gives how many bytes the node's side took.
    public func pipeline(
        _ first: String, then message: [UInt8], bytes limit: Int, to node: LabNode, within time: Duration
    ) async throws -> Int {
        let stranger = self
        return try await offloading {
            let client = try stranger.client(of: node, within: time)
            var sent = 0
            do {
                try client.send(DqliteWire.message(9, DqliteWire.queryBody(first)))
                while sent < limit {
                    try client.send(message)
                    sent += message.count
                }
            } catch is SystemError {
                // Not taken any more: that is one way to be refused.
            }
            return sent
        }
    }
}
