import Platform
import Testing

@testable import Cluster

@Suite("peer messages")
struct PeerMessageTests {
    static let agreement = CoreHarness.agreement(by: 2, [2, 5, 7])
    static let cluster = ClusterID(high: 0xC1, low: 1)
    static let view = CoreHarness.view(
        7, .joining, generation: 3, clusterID: cluster, proposal: agreement.proposal, founder: CoreHarness.id(2),
        ready: true, hearing: [8], discovered: [HostPort(host: "fd00::1", port: 8800)], leader: CoreHarness.address(2))

    static let requests: [PeerRequest] = [
        .hello(view), .propose(agreement), .abort(agreement.proposal), .invite(agreement, cluster),
        .join(
            JoinRequest(
                nodeID: CoreHarness.id(7), name: "node7", dqliteID: 1 << 53 - 1, address: CoreHarness.address(7),
                clusterName: "prod", clusterID: cluster, nonVoter: true)),
    ]

    static let replies: [PeerReply] = [
        .view(view), .agreed(agreement.proposal), .accepted(cluster), .joined(cluster, .standBy),
        .redirect(leader: CoreHarness.address(2)), .redirect(leader: nil),
        .refused(Refusal(.expect, "differs", view: view)), .refused(Refusal(.stale, "")), .error("no quorum"),
    ]

    @Test("every request survives its bytes", arguments: requests)
    func requestSurvives(request: PeerRequest) throws {
        #expect(try PortCoding.decode(PeerRequest.self, from: PortCoding.encode(request)) == request)
    }

    @Test("every reply survives its bytes", arguments: replies)
    func replySurvives(reply: PeerReply) throws {
        #expect(try PortCoding.decode(PeerReply.self, from: PortCoding.encode(reply)) == reply)
    }

    @Test("the bytes of an abort and of a redirect stay as they are: other versions read them")
    func golden() throws {
        let abort = try PortCoding.encode(PeerRequest.abort(ProposalID(high: 1, low: 2)))
        #expect(String(decoding: abort, as: UTF8.self) == #"{"abort":"00000000-0000-0001-0000-000000000002"}"#)
        let redirect = try PortCoding.encode(PeerReply.redirect(leader: HostPort(host: "fd00::1", port: 8800)))
        #expect(String(decoding: redirect, as: UTF8.self) == #"{"redirect":{"leader":"[fd00::1]:8800"}}"#)
        let joined = try PortCoding.encode(PeerReply.joined(ClusterID(high: 0, low: 3), .standBy))
        #expect(
            String(decoding: joined, as: UTF8.self)
                == #"{"joined":{"clusterID":"00000000-0000-0000-0000-000000000003","role":1}}"#)
    }

    @Test("a field that a newer version adds does no harm")
    func newerField() throws {
        let text = #"{"redirect":{"leader":"10.0.0.1:8800","since":5}}"#
        #expect(
            try PortCoding.decode(PeerReply.self, from: Array(text.utf8)) == .redirect(leader: CoreHarness.address(1)))
    }

    @Test(
        "what is no message is refused with a reason",
        arguments: [
            "", "{}", "[]", "null", "7", #"{"nothing":1}"#, #"{"abort":"x"}"#, #"{"abort":7}"#, #"{"hello":{}}"#,
            #"{"abort":"00000000-0000-0001-0000-000000000002","hello":{}}"#, "{\"abort\":", "\u{0}\u{1}\u{2}",
            String(repeating: "[", count: 5000), #"{"propose":{"members":[],"expect":-1}}"#,
        ])
    func noMessage(text: String) {
        #expect {
            try PortCoding.decode(PeerRequest.self, from: Array(text.utf8))
        } throws: { error in
            "\(error)".hasPrefix("this is no peer message: ")
        }
    }

    @Test("bytes that are no UTF-8 are refused")
    func noText() {
        #expect(throws: PortCoding.Failure.self) {
            try PortCoding.decode(PeerReply.self, from: [0xFF, 0xFE, 0x00, 0x7B, 0x7D])
        }
    }

    @Test("a message that is too long is not written")
    func tooLong() throws {
        let long = String(repeating: "x", count: PeerProtocol.frameLimit)
        #expect(throws: PortCoding.Failure.self) { try PortCoding.encode(PeerReply.error(long)) }
    }

    @Test("the longest lists that a node sends fit into a message, and longer ones are refused")
    func longLists() throws {
        var view = Self.view
        let address = HostPort(host: "a-host-with-a-rather-long-name.department.example.org", port: 65535)
        view.heard = (0..<NodeView.maximumListed).map {
            NodeView.Heard(nodeID: NodeID(high: UInt64($0), low: 0), address: address)
        }
        view.discovered = Array(repeating: address, count: NodeView.maximumListed)
        #expect(
            try PortCoding.decode(PeerRequest.self, from: PortCoding.encode(PeerRequest.hello(view))) == .hello(view))
        view.discovered.append(address)
        let bytes = try PortCoding.encode(PeerRequest.hello(view))
        #expect {
            try PortCoding.decode(PeerRequest.self, from: bytes)
        } throws: { error in
            "\(error)" == "this is no peer message: at hello.discovered: 65 entries, and at most 64 are allowed"
        }
    }
}
