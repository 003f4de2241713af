import Glibc
import NIOCore
import Platform

@testable import Cluster
@testable import Dqlite
@testable import Lease

/// What the fuzzers begin with: messages as our own encoders write them, so that they need not be found by chance.
enum Seeds {
    /// Writes each to DIRECTORY/DECODER/NAME, over what is there.
    static func write(to directory: String) throws {
        for (decoder, seeds) in [
            "sql": sql, "client": try client(), "peer": try peer(), "relay": try relay(), "raft": try raft(),
            "wire": try wire(),
        ] {
            let place = "\(directory)/\(decoder)"
            if mkdir(place, 0o755) != 0 && errno != EEXIST { throw SystemError.last("make the directory", place) }
            for (name, bytes) in seeds { try DurableFile.write(bytes, to: "\(place)/\(name)") }
        }
    }

    /// Where `cut` cuts: at a third, and at two.
    private static let places: [UInt8] = [85, 170]

    private static let sql: [String: [UInt8]] = [
        "addresses": "SELECT address FROM vip ORDER BY position",
        "join":
            "SELECT n.name, v.address FROM vip v LEFT JOIN node AS n ON n.dqlite_id = v.position WHERE n.name LIKE 'a%'",
        "with": "WITH x(n) AS (SELECT 1 UNION ALL SELECT n FROM x LIMIT 3) SELECT count(*) FROM x;",
        "quoted": "SELECT \"count\"(*), [address], `position` FROM 'vip' -- all of them",
        "pragma": "SELECT * FROM 'pragma_table_info'('vip')",
        "explain": "EXPLAIN QUERY PLAN SELECT max(length(value)) FROM meta WHERE key = ?1 /* one */",
        "values": "VALUES (1, 'a''b', x'00ff', 1e9, NULL), ($a, :b, @c, ?, ?2)",
        "window": "SELECT avg(position) OVER (PARTITION BY group_name) FROM vip GROUP BY 1 HAVING count(*) > 1",
        "two": "SELECT 1; DELETE FROM vip",
        "returning": "DELETE FROM vip RETURNING address",
        "case":
            "SELECT CASE WHEN typeof(address) = 'text' THEN substr(address, 1, 3) ELSE CAST(address AS INTEGER) END FROM vip",
    ].mapValues { Array($0.utf8) }

    private static func client() throws -> [String: [UInt8]] {
        let requests: [String: [WireRequest]] = [
            "read": [
                .open(name: "dqlite-vip"), .querySQL(database: 0, sql: "SELECT address FROM vip", parameters: []),
            ],
            "prepared": [
                .open(name: "dqlite-vip"), .prepare(database: 0, sql: "SELECT ?"),
                .query(
                    database: 0, statement: 0,
                    parameters: [.integer(-1), .text("a"), .blob([1, 2]), .null, .float(0.5)]),
                .finalize(database: 0, statement: 0),
            ],
            "cluster": [
                .leader, .client(id: 7), .cluster(format: .withRoles), .describe, .weight(3), .interrupt(database: 0),
            ],
            "changes": [
                .add(id: 2, address: "10.0.0.2:8800"), .assign(id: 2, role: .standby), .remove(id: 2), .transfer(id: 0),
                .dump(name: "dqlite-vip"), .execSQL(database: 0, sql: "BEGIN", parameters: []),
            ],
            "connect": [.connect(id: 2, address: "10.0.0.2:8800")],
        ]
        return try requests.mapValues { requests in
            try requests.reduce(places) { bytes, request in bytes + (try request.encoded()) }
        }
    }

    private static func peer() throws -> [String: [UInt8]] {
        let (node, cluster) = (NodeID(high: 1, low: 7), ClusterID(high: 0xC1, low: 1))
        let place = HostPort(host: "10.0.0.7", port: 8800)
        let founder = FoundingMember(nodeID: node, address: place, dqliteID: 1, generation: 3)
        let agreement = Agreement(
            proposal: ProposalID(high: 1, low: 2), clusterName: "prod", expect: 3, founder: node, members: [founder])
        let view = NodeView(
            nodeID: node, name: "node7", dqliteID: 7, generation: 3, address: place, clusterName: "prod", expect: 3,
            nonVoter: false, phase: .formed, clusterID: cluster, heard: [NodeView.Heard(nodeID: node, address: place)],
            discovered: [place], leader: place)
        let join = JoinRequest(
            nodeID: node, name: "node7", dqliteID: 7, address: place, clusterName: "prod", clusterID: cluster,
            nonVoter: true)
        let entry = ReplicatedConfiguration.NodeEntry(
            dqliteID: 7, nodeID: "\(node)", name: "node7", isNonVoter: false, failureDomain: "rack 3")
        let removed = RemovedNode(
            dqliteID: 7, nodeID: "\(node)", name: "node7", address: "\(place)", reason: .left,
            at: WallTime(milliseconds: 1_795_242_660_250))
        let moving = MovingNode(dqliteID: 7, address: "\(place)", role: .standby)
        let configuration = ReplicatedConfiguration(
            addresses: ["10.0.0.100/24", "fd00::100/64"], nodes: [entry], removed: [removed], moving: [moving])
        let id = "\(cluster)"
        let roster = Roster(
            clusterID: id, term: 7, leader: 7,
            members: [
                Roster.Member(id: 7, address: "\(place)", role: .voter),
                Roster.Member(id: 8, address: "10.0.0.8:8800", role: .spare, goneSince: removed.at, silentFor: 2500),
            ])
        let requests: [String: PortRequest] = [
            "hello": .peer(.hello(view)), "propose": .peer(.propose(agreement)),
            "abort": .peer(.abort(agreement.proposal)),
            "invite": .peer(.invite(agreement, cluster)), "join": .peer(.join(join)),
            "addresses": .write(.setAddressesIf(present: [["10.0.0.100/24"]], []), clusterID: id),
            "describe": .write(.describeNode(entry), clusterID: id),
            "label": .write(.labelNode(7, ["rack": "3"]), clusterID: id),
            "removal": .write(.noteRemoval(removed), clusterID: id), "move": .write(.noteMove(moving), clusterID: id),
            "read": .read(clusterID: id), "changed": .changed(configuration, clusterID: id),
            "offer": .handOver(
                HandOverOffer(
                    clusterID: id, term: .max, leader: 7, address: "\(place)", isMade: true, isHolder: true)),
            "took-over": .tookOver(term: 7, clusterID: id), "fail-over": .failOver(to: "node7", clusterID: id),
            "roster": .roster(roster),
            "remove": .removeNode(RemovalOrder(target: "node7", force: false, isLeaving: true), clusterID: id),
            "dismissed": .dismissed(removed, clusterID: id), "standing": .standing(7, clusterID: id),
        ]
        let replies: [String: PortReply] = [
            "view": .peer(.view(view)), "agreed": .peer(.agreed(agreement.proposal)),
            "joined": .peer(.joined(cluster, .standBy)), "redirect": .peer(.redirect(leader: place)),
            "written": .written, "configuration": .configuration(configuration),
            "present": .present(Attendance(dqliteID: 7, nodeID: "\(node)", name: "node7", isNonVoter: false)),
            "accepted": .raftAccepted(RaftAcceptance(dqliteID: 7, incarnation: 1)), "removed": .removed(removed),
            "failed": .failed(PortFailure(reason: .notLeader, text: "it does not lead")),
        ]
        func framed(_ json: [UInt8]) -> [UInt8] { places + Array(ByteBuffer(peerFrame: json).readableBytesView) }
        // Alone, for the content; framed, for the cutting.
        var seeds: [String: [UInt8]] = [:]
        for (name, request) in requests { seeds["ask-\(name)"] = places + (try PortCoding.encode(request)) }
        for (name, reply) in replies { seeds["reply-\(name)"] = places + (try PortCoding.encode(reply)) }
        seeds["framed"] = framed(try PortCoding.encode(PortRequest.read(clusterID: id)))
        return seeds
    }

    private static let heartbeat = RaftFrame.heartbeat(term: 7, behind: 12)
    private static let timeoutNow = RaftFrame.timeoutNow(term: 7, lastIndex: 12, lastTerm: 7)

    private static func relay() throws -> [String: [UInt8]] {
        let time = BootInstant(nanoseconds: 1_000_000_007)
        let messages: [String: [RelayMessage]] = [
            "open": [.preface(ByteBuffer(bytes: try RaftPreface.encode(id: 7, address: "10.0.0.7:8800")))],
            "frames": [
                .frame(ByteBuffer(bytes: heartbeat), sentAt: time, wantsPromise: true),
                .frame(ByteBuffer(bytes: timeoutNow), sentAt: time, wantsPromise: false),
            ],
            "said": [
                .said(.acknowledged(term: 7, sentAt: time)), .said(.released(upTo: time, successor: 8)),
                .said(.released(upTo: time, successor: nil)), .said(.asked(term: 7, sentAt: time)),
                .said(.silent(term: 7)), .said(.stands(term: 8)), .said(.declined(term: 8)),
            ],
            "raw": [.raw(ByteBuffer(bytes: [1, 2, 3])), .raw(ByteBuffer())],
        ]
        return messages.mapValues { messages in
            var buffer = ByteBuffer()
            for message in messages { message.write(to: &buffer) }
            return places + Array(buffer.readableBytesView)
        }
    }

    private static func words(_ words: UInt64...) -> [UInt8] {
        var encoder = WireEncoder()
        for word in words { encoder.integer(word) }
        return encoder.bytes
    }

    private static func raft() throws -> [String: [UInt8]] {
        // One member: format, count, id, address, role.
        let configuration: [UInt8] = [1] + words(1, 7) + Array("10.0.0.7:8800".utf8) + [0, 1]
        let entry = UInt64(configuration.count) << 32 | 3
        let append = words(1, 48 + 32, 7, 10, 6, 9, 2, 6, 3 << 32 | 1, 7, entry, 0) + [1, 2, 3] + configuration
        return [
            "heartbeat": places + heartbeat, "timeout-now": places + timeoutNow, "append": places + append + heartbeat,
            "append-alone": places + append, "votes": places + words(3, 40, 8, 3, 12, 7, 2) + words(4, 24, 8, 1, 1),
            "result": places + words(2, 32, 7, 0, 6, 3),
            "snapshot": places + words(5, 64, 7, 32, 6, 1, 8, 0x0807_0605_0403_0201, 3, 0) + [1, 2, 3],
            "preface": places + (try RaftPreface.encode(id: 7, address: "10.0.0.7:8800")) + heartbeat,
        ]
    }

    private static func wire() throws -> [String: [UInt8]] {
        func answer(_ type: UInt8, _ body: WireEncoder) throws -> [UInt8] {
            places + (try WireEncoder.message(type: type, body: body))
        }
        func body(_ write: (inout WireEncoder) throws -> Void) throws -> WireEncoder {
            var encoder = WireEncoder()
            try write(&encoder)
            return encoder
        }
        let rows = try body {
            $0.integer(UInt64(2))
            try $0.text("address")
            try $0.text("position")
            // Two types in a byte, 3 text and 1 integer; then the values.
            $0.integer(UInt64(0x13))
            try $0.text("10.0.0.100/24")
            $0.integer(UInt64(1))
            $0.integer(UInt64.max)
        }
        return [
            "failure": places + WireEncoder.failure(code: 1001, message: "no"),
            "result": places + WireEncoder.emptyResult(),
            "rows": try answer(7, rows),
            "server": try answer(
                1,
                body {
                    $0.integer(UInt64(7))
                    try $0.text("10.0.0.7:8800")
                }),
            "servers": try answer(
                3,
                body {
                    $0.integer(UInt64(1))
                    $0.integer(UInt64(7))
                    try $0.text("10.0.0.7:8800")
                    $0.integer(UInt64(2))
                }),
            "statement": try answer(5, body { for word in [UInt64(3) << 32, 2] { $0.integer(word) } }),
            "files": try answer(
                9,
                body {
                    $0.integer(UInt64(1))
                    try $0.text("main")
                    $0.integer(UInt64(8))
                    $0.integer(UInt64(0x0102_0304))
                }),
        ]
    }
}
