import Dqlite
import Foundation
import Platform
import Testing

@testable import Cluster

@Suite("what is believed of peers")
struct BeliefTests {
    private static func roster(_ leader: DqliteNodeID = 2, term: UInt64 = 7) -> Roster {
        Roster(
            clusterID: "c", term: term, leader: leader,
            members: (1...3).map { Roster.Member(id: $0, address: "10.0.0.\($0):8800", role: .voter) })
    }

    @Test(
        "where raft is heard, a roster counts of its leader in its term only: none of the past and none of the future")
    func heard() {
        let belief = RosterBelief(heard: (2, 7), isFresh: true, lastTerm: 7)
        #expect(belief.takes(Self.roster(), isFromItsLeader: true))
        for term in [0, 6, 8, UInt64.max] { #expect(!belief.takes(Self.roster(term: term), isFromItsLeader: true)) }
        #expect(!belief.takes(Self.roster(3), isFromItsLeader: true))
        #expect(!belief.takes(Self.roster(), isFromItsLeader: false))
        // A leader that speaks from a card that nobody knows.
        #expect(RosterBelief(heard: (2, 7), isFresh: false, lastTerm: 7).takes(Self.roster(), isFromItsLeader: false))
        #expect(
            !RosterBelief(heard: (2, 7), isFresh: false, lastTerm: 7).takes(
                Self.roster(term: .max), isFromItsLeader: true))
    }

    @Test("a spare takes a roster from where its leader is, and from elsewhere only when it hears nothing for a while")
    func spare() {
        let belief = RosterBelief(heard: nil, isFresh: true, lastTerm: 7)
        #expect(belief.takes(Self.roster(), isFromItsLeader: true))
        #expect(!belief.takes(Self.roster(term: .max), isFromItsLeader: false))
        let forgotten = RosterBelief(heard: nil, isFresh: false, lastTerm: .max)
        #expect(forgotten.takes(Self.roster(), isFromItsLeader: true), "a forged term does not stay for ever")
    }

    @Test("a roster without its leader, or of more members than there can be, is none")
    func unsound() {
        let belief = RosterBelief(heard: nil, isFresh: false, lastTerm: 0)
        #expect(!belief.takes(Self.roster(9), isFromItsLeader: true))
        var crowd = Self.roster()
        crowd.members = (1...129).map { Roster.Member(id: $0, address: "10.0.0.1:8800", role: .voter) }
        #expect(!belief.takes(crowd, isFromItsLeader: true))
    }

    // MARK: - Words

    @Test("names are made sound wherever they come in, and nothing else of a message is touched")
    func names() throws {
        let evil = "\u{1b}]0;owned\u{7}a\r\nb c\u{202e}" + String(repeating: "x", count: 70_000)
        let sound = SoundText.name(evil)
        #expect(sound.utf8.count == 63 && SoundText.isName(sound))
        #expect(SoundText.name("db-1.example_x") == "db-1.example_x")
        let attendance = Attendance(dqliteID: 3, nodeID: "", name: evil, isNonVoter: false)
        let read = try PortCoding.decode(Attendance.self, from: Array(try JSONEncoder().encode(attendance)))
        #expect(read.name == sound && read.dqliteID == 3)
        let entry = ReplicatedConfiguration.NodeEntry(dqliteID: 4, nodeID: "", name: evil)
        let configuration = ReplicatedConfiguration(addresses: ["192.0.2.1/24"], nodes: [entry])
        let told = try PortCoding.decode(
            ReplicatedConfiguration.self, from: Array(try JSONEncoder().encode(configuration)))
        #expect(told.nodes.map(\.name) == [sound] && told.addresses == ["192.0.2.1/24"])
    }

    @Test(
        "what no node of ours writes is not read",
        arguments: [
            ReplicatedConfiguration(addresses: ["junk\u{1b}[31m"]),
            ReplicatedConfiguration(addresses: ["192.0.2.1/24\n"]),
            ReplicatedConfiguration(addresses: (0..<65).map { "192.0.2.\($0)/24" }),
            ReplicatedConfiguration(nodes: [.init(dqliteID: 1, nodeID: "x\u{1b}", name: "n")]),
            ReplicatedConfiguration(nodes: [.init(dqliteID: 1, nodeID: "", name: "n", failureDomain: "a b")]),
            ReplicatedConfiguration(moving: [MovingNode(dqliteID: 1, address: "no place", role: .voter)]),
        ])
    func unread(_ configuration: ReplicatedConfiguration) throws {
        let bytes = Array(try JSONEncoder().encode(configuration))
        #expect(throws: PortCoding.Failure.self) { try PortCoding.decode(ReplicatedConfiguration.self, from: bytes) }
    }

    private struct NoTen: AddressRules {
        func fault(in addresses: [String]) -> String? { addresses.contains { $0.hasPrefix("10.") } ? "no ten" : nil }
    }

    @Test("what is written through the port passes the checks of the API")
    func writes() throws {
        func refusal(_ change: ConfigurationChange) -> PortFailure.Reason? {
            do throws(PortFailure) {
                _ = try change.sound(by: NoTen())
                return nil
            } catch {
                return error.reason
            }
        }
        #expect(refusal(.setAddresses(["192.0.2.1/24"])) == nil)
        for change in [
            ConfigurationChange.setAddresses(["10.0.0.1/24"]), .setAddressesIfNone(["10.0.0.1/24"]),
            .setAddressesIf(present: [[]], ["10.0.0.1/24"]),
            .setAddresses((0..<65).map { "192.0.2.\($0)/24" }),
            .describeNode(.init(dqliteID: 1, nodeID: "x", name: "n")),
            .labelNode(1, ["a b": "c"]), .labelNode(1, ["a": "b\u{1b}"]),
            .labelNode(1, Dictionary(uniqueKeysWithValues: (0..<17).map { ("k\($0)", "v") })),
            .noteRemoval(RemovedNode(dqliteID: 1, nodeID: "", name: "", address: "a b:1", reason: .left, at: .now)),
            .noteMove(MovingNode(dqliteID: 1, address: "", role: .voter)),
        ] {
            #expect(refusal(change) == .invalid, "\(change)")
        }
        let described = try ConfigurationChange.describeNode(.init(dqliteID: 1, nodeID: "", name: "a\u{1b}b"))
            .sound(by: NoTen())
        guard case .describeNode(let entry) = described else { return #expect(Bool(false)) }
        #expect(entry.name == "a_b")
    }

    // MARK: - Silence

    @Test("a database that does not answer is late at first, and silent when it has been asked again in vain")
    func silence() {
        var core = SilenceCore()
        #expect(core.look(silence: .milliseconds(300), unanswered: 4) == .answers)
        #expect(core.look(silence: .seconds(2), unanswered: 8) == .late(.seconds(2)))
        #expect(core.look(silence: .seconds(4), unanswered: 12) == .late(.seconds(4)), "it is asked again first")
        #expect(core.look(silence: .seconds(4), unanswered: 13) == .late(.seconds(4)))
        #expect(core.look(silence: .seconds(5), unanswered: 14) == .silent(.seconds(5)))
    }

    @Test("a process that was stopped for a while has had no answer for long either, and is well")
    func stopped() {
        var core = SilenceCore()
        #expect(core.look(silence: .seconds(60), unanswered: 4) == .late(.seconds(60)))
        #expect(core.look(silence: .milliseconds(10), unanswered: 5) == .answers)
        #expect(core.look(silence: .seconds(60), unanswered: 9) == .late(.seconds(60)))
    }
}
