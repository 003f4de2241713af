import Platform

@testable import Cluster

/// One `BootstrapCore` under a test's thumb: time stands still unless told, and the test plays the other nodes.
struct CoreHarness {
    var core: BootstrapCore
    var now = BootInstant(nanoseconds: 1_000_000_000)
    /// All directives so far, without `wake`.
    var log: [BootstrapDirective] = []
    private var nextToken: PeerReplyToken = 100

    static let ownID = NodeID(high: 0x5000, low: 0)
    static let ownAddress = HostPort(host: "10.0.0.5", port: 8800)

    static func options(_ mode: BootstrapOptions.Mode, nonVoter: Bool = false, name: String = "prod")
        -> BootstrapOptions
    {
        BootstrapOptions(mode: mode, clusterName: name, name: "five", address: ownAddress, nonVoter: nonVoter)
    }

    static func record(_ state: NodeRecord.State = .fresh, dqliteID: UInt64 = 5005) -> NodeRecord {
        NodeRecord(nodeID: ownID, dqliteID: dqliteID, address: ownAddress, clusterName: "prod", state: state)
    }

    /// A node that was started before, so that its ids are known.
    init(
        _ mode: BootstrapOptions.Mode, record: NodeRecord? = Self.record(), raftIsEmpty: Bool = true,
        nonVoter: Bool = false,
        name: String = "prod"
    ) throws {
        core = try BootstrapCore(
            options: Self.options(mode, nonVoter: nonVoter, name: name), record: record, raftIsEmpty: raftIsEmpty,
            random: BootstrapRandom(seed: 1))
        step(.start)
    }

    /// Returns the directives of this step, without `wake`.
    @discardableResult
    mutating func step(_ event: BootstrapEvent) -> [BootstrapDirective] {
        let directives = core.step(event, now: now).filter { if case .wake = $0 { false } else { true } }
        log += directives
        return directives
    }

    @discardableResult
    mutating func pass(_ time: Duration) -> [BootstrapDirective] {
        // In steps as the shell would, so that rounds come as they should.
        var all: [BootstrapDirective] = []
        let end = now.advanced(by: time)
        while now < end {
            now = min(end, now.advanced(by: .milliseconds(20)))
            all += step(.tick)
        }
        return all
    }

    // MARK: other nodes

    static func address(_ number: Int) -> HostPort { HostPort(host: "10.0.0.\(number)", port: 8800) }

    /// What node `number` (1...9) says; it hears this node and `hearing`.
    static func view(
        _ number: Int, _ phase: NodeView.Phase = .fresh, expect: Int? = 3, name: String = "prod",
        generation: UInt64 = 0,
        clusterID: ClusterID? = nil, proposal: ProposalID? = nil, founder: NodeID? = nil, ready: Bool = false,
        hearing: [Int] = [], discovered: [HostPort] = [], leader: HostPort? = nil
    ) -> NodeView {
        NodeView(
            nodeID: id(number), name: "node\(number)", dqliteID: UInt64(1000 + number), generation: generation,
            address: address(number), clusterName: name, expect: expect, nonVoter: false, phase: phase,
            clusterID: clusterID, proposal: proposal, founder: founder, ready: ready,
            heard: ([5] + hearing).map { NodeView.Heard(nodeID: id($0), address: address($0)) },
            discovered: discovered, leader: leader)
    }

    static func id(_ number: Int) -> NodeID { NodeID(high: UInt64(number) << 12, low: 0) }

    static func member(_ number: Int, founder: Bool = false, generation: UInt64 = 0) -> FoundingMember {
        FoundingMember(
            nodeID: id(number), address: address(number),
            dqliteID: founder ? 1 : number == 5 ? 5005 : UInt64(1000 + number), generation: generation)
    }

    static func agreement(by founder: Int, _ members: [Int], expect: Int = 3, proposal: UInt64 = 77) -> Agreement {
        Agreement(
            proposal: ProposalID(high: proposal, low: 0), clusterName: "prod", expect: expect, founder: id(founder),
            members: members.map { member($0, founder: $0 == founder) })
    }

    /// Answers every hello on the way with what the nodes say, until no more are sent at this instant.
    mutating func answerHellos(_ views: [NodeView]) {
        var answered = Set<PeerRequestID>()
        while true {
            let open = log.compactMap { directive -> (PeerRequestID, HostPort)? in
                guard case .send(.hello, let address, let id, _) = directive, !answered.contains(id) else { return nil }
                return (id, address)
            }
            if open.isEmpty { return }
            for (id, address) in open {
                answered.insert(id)
                if let view = views.first(where: { $0.address == address }) {
                    step(.reply(id, from: address, .view(view)))
                }
            }
        }
    }

    /// Discovers the addresses, and lets time pass while the nodes answer.
    mutating func meet(_ views: [NodeView], besides dead: [HostPort] = [], for time: Duration = .milliseconds(400)) {
        step(.discovered([Self.ownAddress] + views.map(\.address) + dead))
        let end = now.advanced(by: time)
        while now < end {
            now = now.advanced(by: .milliseconds(20))
            step(.tick)
            answerHellos(views)
        }
    }

    /// Asks this node something, and returns its answers.
    mutating func ask(_ request: PeerRequest) -> [PeerReply] {
        nextToken += 1
        return step(.request(request, token: nextToken)).compactMap {
            if case .respond(let reply, _) = $0 { reply } else { nil }
        }
    }

    // MARK: what it did

    /// The requests of one kind sent so far: id, address and request.
    func sent(_ matches: (PeerRequest) -> Bool) -> [(id: PeerRequestID, to: HostPort, request: PeerRequest)] {
        log.compactMap {
            guard case .send(let request, let address, let id, _) = $0, matches(request) else { return nil }
            return (id, address, request)
        }
    }

    var proposals: [(id: PeerRequestID, to: HostPort, request: PeerRequest)] {
        sent { if case .propose = $0 { true } else { false } }
    }

    var joins: [(id: PeerRequestID, to: HostPort, request: PeerRequest)] {
        sent { if case .join = $0 { true } else { false } }
    }

    var invitations: [(id: PeerRequestID, to: HostPort, request: PeerRequest)] {
        sent { if case .invite = $0 { true } else { false } }
    }

    var warnings: [String] {
        log.compactMap { if case .warn(let warning) = $0 { warning.description } else { nil } }
    }

    /// The last reason for waiting.
    var waiting: String? {
        for case .waiting(let reason) in log.reversed() { return reason?.description }
        return nil
    }

    var states: [NodeRecord.State] {
        log.compactMap { if case .persist(let record) = $0 { record.state } else { nil } }
    }
}

extension [BootstrapDirective] {
    /// The kinds in their order, for tests of the order.
    var kinds: [String] {
        map { directive in
            switch directive {
            case .persist(let record):
                "persist \(SimTrace.kind(record.state))\(record.wipePending ? ", wipe pending" : "")"
            case .send(let request, _, _, _): "send \(SimTrace.kind(request))"
            case .respond(let reply, _): "respond \(SimTrace.kind(reply))"
            case .lookUp: "look up"
            case .startNode(let id, let founding): "start \(id)\(founding ? " founding" : "")"
            case .createDatabase: "create database"
            case .admit(let member, let role, _): "admit \(member.address.host) as \(role)"
            case .commitFormed: "commit formed"
            case .claimFounding(let clusterID): clusterID == nil ? "claim" : "claim for the cluster"
            case .stopNode: "stop"
            case .stopNodeAndWipeRaft: "stop and wipe"
            case .becameMember(_, let formed): formed ? "member of a formed cluster" : "member"
            case .waiting: "waiting"
            case .warn: "warn"
            case .wake: "wake"
            }
        }
    }

    /// Without what goes on all the time.
    var deeds: [String] {
        kinds.filter { !["waiting", "look up", "send hello", "wake"].contains($0) }
    }
}

extension SimTrace {
    static func kind(_ state: NodeRecord.State) -> String {
        switch state {
        case .fresh: "fresh"
        case .agreed: "agreed"
        case .withdrawn: "withdrawn"
        case .founding(_, _, let phase): "founding \(phase)"
        case .joining(_, let agreement, let started):
            "joining \(agreement == nil ? "formed" : "unformed")\(started ? " started" : "")"
        case .formed: "formed"
        case .removed: "removed"
        }
    }

    static func kind(_ request: PeerRequest) -> String {
        switch request {
        case .hello: "hello"
        case .propose: "propose"
        case .abort: "abort"
        case .invite: "invite"
        case .join: "join"
        }
    }

    static func kind(_ reply: PeerReply) -> String {
        switch reply {
        case .view: "view"
        case .agreed: "agreed"
        case .accepted: "accepted"
        case .joined: "joined"
        case .redirect: "redirect"
        case .refused(let refusal): "refused \(refusal.code)"
        case .error: "error"
        }
    }
}
