import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("The cluster port and strangers")
    struct ClusterPortTests {
        @Test("an ordinary dqlite client finds the leader, lists the cluster and reads the VIP")
        func reading() async throws {
            try await withCluster { lab, formation in
                for node in lab.nodes {
                    let client = try DqliteWire(to: node.clusterAddress, in: lab.network.client)
                    let leader = try client.call(.leader)
                    #expect(leader.type == 1)
                    #expect(try DqliteWire.readWord(leader.body, at: 0) == formation.leaderID)
                    #expect(
                        try DqliteWire.readText(leader.body, at: 8).text == "\(lab[formation.leader].clusterAddress)")
                    let servers = try client.call(.cluster, DqliteWire.word(1))
                    #expect(servers.type == 3)
                    #expect(try DqliteWire.readWord(servers.body, at: 0) == 3)
                }
                let client = try DqliteWire(to: lab[formation.leader].clusterAddress, in: lab.network.client)
                #expect(try client.call(.open, DqliteWire.openBody("dqlite-vip")).type == 4)
                let rows = try client.call(
                    .querySQL, DqliteWire.word(0) + DqliteWire.text("SELECT address FROM vip"))
                #expect(rows.type == 7)
                #expect(try DqliteWire.readWord(rows.body, at: 0) == 1)
                let column = try DqliteWire.readText(rows.body, at: 8)
                #expect(column.text == "address")
                // One word of types, then the value.
                #expect(try DqliteWire.readText(rows.body, at: column.next + 8).text == lab.vipText)
            }
        }

        @Test("a stranger can neither write nor change the membership nor move the leadership")
        func writing() async throws {
            try await withCluster { lab, formation in
                let address = lab[formation.leader].clusterAddress
                let zero = DqliteWire.word(0)
                let requests: [(DqliteWire.Request, [UInt8])] = [
                    (.execSQL, zero + DqliteWire.text("DELETE FROM vip")),
                    (.execSQL, zero + DqliteWire.text("CREATE TABLE x (a INTEGER)")),
                    (.querySQL, zero + DqliteWire.text("DELETE FROM vip RETURNING address")),
                    (.querySQL, zero + DqliteWire.text("PRAGMA user_version = 7")),
                    (.querySQL, zero + DqliteWire.text("WITH a AS (SELECT 1) DELETE FROM vip")),
                    (.prepare, zero + DqliteWire.text("DELETE FROM vip")),
                    (.add, DqliteWire.word(77) + DqliteWire.text("10.42.0.77:8800")),
                    (.assign, DqliteWire.word(formation.leaderID) + DqliteWire.word(2)),
                    (.remove, DqliteWire.word(formation.leaderID)), (.transfer, zero), (.weight, DqliteWire.word(5)),
                ]
                for (request, body) in requests {
                    // A connection each: a refusal may end it.
                    let client = try DqliteWire(to: address, in: lab.network.client)
                    #expect(try client.call(.open, DqliteWire.openBody("dqlite-vip")).type == 4)
                    let answer = try? client.call(request, body)
                    #expect(answer == nil || answer?.isFailure == true, "\(request) was taken")
                }
                let after = try await lab.formation()
                #expect(after.members == formation.members)
                #expect(after.leader == formation.leader)
                for node in lab.nodes { #expect(try await node.vip() == lab.vipText) }
            }
        }

        /// Everything that is known to stop or upset libdqlite, and noise.
        private static func hostileBytes() -> [(name: String, bytes: [UInt8])] {
            typealias Wire = DqliteWire
            let zero = Wire.word(0)
            var cases: [(String, [UInt8])] = [
                ("describe with format 1 (aborts libdqlite)", Wire.message(18, Wire.word(1))),
                ("describe with format 2^63", Wire.message(18, Wire.word(1 << 63))),
                ("heartbeat, which is never answered", Wire.message(2, zero)),
                ("unknown type 20", Wire.message(20, zero)), ("unknown type 255", Wire.message(255, zero)),
                ("length of 32 GiB", Wire.header(words: .max, type: 0)),
                ("length of 8 GiB and a body", Wire.header(words: 1 << 30, type: 8) + zero),
                ("client without its word", Wire.header(words: 0, type: 1)),
                ("open without an end of the text", Wire.message(3, [UInt8](repeating: 0x61, count: 64))),
                ("open with a text alone", Wire.message(3, Wire.text("dqlite-vip"))),
                ("query without open", Wire.message(9, zero + Wire.text("SELECT 1"))),
                ("query of database 9", Wire.message(9, Wire.word(9) + Wire.text("SELECT 1"))),
                (
                    "query with 255 parameters and none",
                    Wire.message(9, zero + Wire.text("SELECT ?") + [255, 1, 1, 1, 1, 1, 1, 1])
                ),
                (
                    "query with an unknown type of parameter",
                    Wire.message(9, zero + Wire.text("SELECT ?") + [1, 99, 0, 0, 0, 0, 0, 0] + zero)
                ),
                (
                    "query with a blob longer than the message",
                    Wire.message(9, zero + Wire.text("SELECT ?") + [1, 4, 0, 0, 0, 0, 0, 0] + Wire.word(.max))
                ),
                ("exec of statement 7", Wire.message(5, zero)),
                ("query of statement 7", Wire.message(6, Wire.word(7 << 32))),
                ("cluster format 7", Wire.message(16, Wire.word(7))),
                ("dump of no name", Wire.message(15, Wire.text(""))),
                (
                    "raft connect as node 1",
                    Wire.message(11, Wire.word(1) + Wire.text("10.42.0.1:8800")) + Wire.word(6) + Wire.word(24)
                        + Wire.word(99) + Wire.word(1) + Wire.word(1)
                ),
                ("raft connect without an address", Wire.message(11, Wire.word(1))),
                ("add with a short body", Wire.message(12, Wire.word(5))),
                ("half a header", [1, 0, 0]),
            ]
            for type in UInt8(0)...21 {
                cases.append(("type \(type) of length 0 (aborts libdqlite)", Wire.header(words: 0, type: type)))
                cases.append(
                    ("type \(type) with noise", Wire.message(type, (0..<32).map { _ in .random(in: .min ... .max) })))
            }
            return cases
        }

        @Test("no malformed message disturbs a node: the same leader, the same term, the VIP in its place")
        func hostile() async throws {
            try await withCluster { lab, before in
                let daemons = lab.nodes.map(\.daemonPID)
                for node in lab.nodes {
                    for (name, bytes) in Self.hostileBytes() {
                        let connection = try TCPConnection(
                            to: node.clusterAddress, in: lab.network.client, within: .milliseconds(1500))
                        try? connection.send(DqliteWire.version + bytes)
                        // Whatever comes back, or nothing: the next client must be served.
                        let next = try DqliteWire(to: node.clusterAddress, in: lab.network.client)
                        let answer = try? next.call(.leader)
                        #expect(answer?.type == 1, "after \(name), node \(node.number)")
                        _ = connection
                    }
                }
                try await undisturbed(lab, before, daemons)
            }
        }

        @Test("noise instead of a protocol, half-open connections and 300 connections disturb nobody")
        func flood() async throws {
            try await withCluster { lab, before in
                let daemons = lab.nodes.map(\.daemonPID)
                let target = lab[before.leader]
                var held: [TCPConnection] = []
                for index in 0..<300 {
                    // Refused, reset or accepted: all are fine, waiting for ever is not.
                    guard
                        let connection = try? TCPConnection(
                            to: target.clusterAddress, in: lab.network.client, within: .seconds(2))
                    else { continue }
                    switch index % 5 {
                    case 0: break
                    case 1: try? connection.send((0..<64).map { _ in .random(in: .min ... .max) })
                    case 2: try? connection.send(DqliteWire.version + DqliteWire.header(words: 4, type: 0))
                    case 3: try? connection.send(Array("GET / HTTP/1.1\r\n\r\n".utf8))
                    default: try? connection.send([1, 0, 0])
                    }
                    held.append(connection)
                }
                #expect(held.count > 100)
                let start = BootClock.now
                try await eventually("three seconds of it", within: .seconds(6)) {
                    start.duration(to: BootClock.now) > .seconds(3)
                }
                try await undisturbed(lab, before, daemons)
                held.removeAll()
                try await eventually("service of a new client", within: .seconds(10)) {
                    try DqliteWire(to: target.clusterAddress, in: lab.network.client).call(.leader).type == 1
                }
            }
        }

        @Test("a query without end is cut short and costs nobody the lead")
        func endlessQuery() async throws {
            try await withCluster { lab, before in
                let daemons = lab.nodes.map(\.daemonPID)
                let client = try DqliteWire(
                    to: lab[before.leader].clusterAddress, in: lab.network.client, within: .seconds(20))
                #expect(try client.call(.open, DqliteWire.openBody("dqlite-vip")).type == 4)
                let five = "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)"
                let tables = (0..<18).map { "\(five) t\($0)" }.joined(separator: ", ")
                let answer = try? client.call(
                    .querySQL, DqliteWire.word(0) + DqliteWire.text("SELECT count(*) FROM \(tables)"))
                #expect(answer == nil || answer?.isFailure == true)
                try await undisturbed(lab, before, daemons)
            }
        }

        /// What a relay sends first: the words that open a raft connection of libdqlite.
        private static func preface(_ bytes: [UInt8]) -> [UInt8] {
            withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { Array($0) } + [1]
                + [UInt8](repeating: 0, count: 19) + bytes
        }

        @Test("after a raft handshake nothing but raft gets through")
        func smuggling() async throws {
            try await withCluster { lab, before in
                let daemons = lab.nodes.map(\.daemonPID)
                let target = lab[before.leader]
                let status = try await target.status()
                for bytes in [
                    DqliteWire.version + DqliteWire.message(18, DqliteWire.word(1)),
                    Self.preface(DqliteWire.version + DqliteWire.message(18, DqliteWire.word(1))),
                    Self.preface(
                        DqliteWire.version
                            + DqliteWire.message(11, DqliteWire.word(78) + DqliteWire.text("10.42.0.78:8800"))),
                    Self.preface(
                        DqliteWire.version
                            + DqliteWire.message(11, DqliteWire.word(77) + DqliteWire.text("10.42.0.77:8800"))
                            + DqliteWire.message(18, DqliteWire.word(1))),
                    DqliteWire.version + DqliteWire.header(words: 0, type: 0),
                    DqliteWire.version + DqliteWire.message(8, DqliteWire.word(0) + DqliteWire.text("DELETE FROM vip")),
                    DqliteWire.version
                        + DqliteWire.message(11, DqliteWire.word(78) + DqliteWire.text("10.42.0.78:8800"))
                        + DqliteWire.word(6) + DqliteWire.word(24) + DqliteWire.word(9) + DqliteWire.word(1),
                ] {
                    let handshake = """
                        {"raft":{"_0":{"clusterName":"dqlite-vip","clusterID":"\(status.clusterID ?? "")","dqliteID":77,\
                        "address":"10.42.0.77:8800","incarnation":1,"relay":4,\
                        "timing":{"address":"10.42.0.77:8800","latency":30,"lease":180,"silence":150}}}}
                        """
                    let frame = Array(handshake.utf8)
                    let length = withUnsafeBytes(of: UInt32(frame.count).bigEndian) { Array($0) }
                    let connection = try TCPConnection(
                        to: target.clusterAddress, in: lab.network.client, within: .seconds(3))
                    try connection.send(Array("DQVIP".utf8) + [0, 0, 1] + length + frame)
                    let size = try connection.receive(exactly: 4).reduce(0) { $0 << 8 | Int($1) }
                    let reply = String(decoding: try connection.receive(exactly: size), as: UTF8.self)
                    #expect(
                        reply.contains("raftAccepted"), "the handshake itself must be taken, or this proves nothing")
                    try connection.send(bytes)
                    #expect(throws: (any Error).self) { try connection.receive(exactly: 1) }
                }
                try await undisturbed(lab, before, daemons)
            }
        }

        @Test("the API on the cluster port is answered with a hint, and not taken for a peer")
        func wrongPort() async throws {
            try await withCluster(of: 1) { lab, _ in
                let answer = try await HTTPExchange.request(
                    "GET", "/status", at: lab[1].clusterAddress, in: lab.network.client)
                #expect(answer.status == 400)
                #expect(answer.text.contains("--bind-http"))
            }
        }

        private func undisturbed(
            _ lab: LabCluster, _ before: LabCluster.Formation, _ daemons: [Int32?]
        ) async throws {
            let after = try await lab.formation()
            #expect(after.leader == before.leader)
            #expect(after.members == before.members)
            for number in 1...lab.nodes.count {
                #expect(after.statuses[number]?.term == before.statuses[number]?.term)
            }
            // Not even a restart by the guard.
            #expect(lab.nodes.map(\.daemonPID) == daemons)
            #expect(lab.witness.holders(of: lab.vip) == [before.leader])
            #expect(lab.witness.timeline.intervals(of: lab.vip).count == 1)
        }
    }
}
