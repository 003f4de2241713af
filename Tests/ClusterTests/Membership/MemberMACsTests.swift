import Dqlite
import FoundationEssentials
import Platform
import Testing

@testable import Cluster

@Suite("the MACs that members tell of themselves")
struct MemberMACsTests {
    private func mac(_ last: UInt8) throws -> HardwareAddress { try #require(HardwareAddress([2, 0, 0, 0, 0, last])) }

    private func decode(_ json: String) throws -> Attendance {
        try PortCoding.decode(Attendance.self, from: Array(json.utf8))
    }

    private func attendance(_ macs: String?) throws -> MemberMACs? {
        let field = macs.map { #","macs":\#($0)"# } ?? ""
        return try decode(#"{"dqliteID":2,"nodeID":"","name":"n","isNonVoter":false\#(field)}"#).macs
    }

    @Test("they go over the wire as texts, and a version that does not tell is understood")
    func wire() throws {
        let told = MemberMACs([try mac(1), try mac(2)])
        let said = Attendance(dqliteID: 2, nodeID: "", name: "n", isNonVoter: false, macs: told)
        let bytes = try PortCoding.encode(said)
        #expect(String(decoding: bytes, as: UTF8.self).contains(#""macs":["02:00:00:00:00:01","02:00:00:00:00:02"]"#))
        #expect(try PortCoding.decode(Attendance.self, from: bytes) == said)
        #expect(try attendance(nil) == nil)
        #expect(try attendance("null") == nil)
    }

    @Test(
        "nonsense and too much are as if nothing had been told, and the rest of the message stays",
        arguments: [
            "[]", "{}", "7", "\"02:00:00:00:00:01\"", "[7]", "[null]", "[[]]", #"["02:00:00:00:00:0g"]"#,
            #"["02:00:00:00:00:01:02"]"#, #"["+2:00:00:00:00:01"]"#, #"["02-00-00-00-00-01"]"#, #"["020000000001"]"#,
            #"["02:00:00:00:00:01",""]"#, #"["0é:00:00:00:00:01"]"#,
            "[" + [String](repeating: #""02:00:00:00:00:01""#, count: 9).joined(separator: ",") + "]",
            "[" + [String](repeating: #""02:00:00:00:00:01""#, count: 9000).joined(separator: ",") + "]",
        ])
    func nonsense(json: String) throws {
        #expect(try attendance(json)?.addresses == [])
        let roster =
            #"{"clusterID":"x","term":3,"leader":1,"members":[{"id":2,"address":"10.0.0.2:8800","role":0,"macs":\#(json)}]}"#
        let decoded = try PortCoding.decode(Roster.self, from: Array(roster.utf8))
        #expect(decoded.members.first?.id == 2 && decoded.macs(of: 2) == nil)
    }

    @Test("eight are the most, and more than that cannot be told")
    func bounds() throws {
        let eight = try (1...8).map { try mac($0) }
        #expect(MemberMACs(eight).addresses == eight)
        #expect(MemberMACs(eight + [try mac(9)]).addresses == [])
        let texts = eight.map { "\"\($0)\"" }.joined(separator: ",")
        #expect(try attendance("[\(texts)]")?.addresses == eight)
    }

    @Test("all other members' MACs are known only when each has told; a list without another member says nothing")
    func all() throws {
        func entry(_ id: DqliteNodeID, _ macs: [UInt8]?) throws -> Roster.Member {
            Roster.Member(
                id: id, address: "192.0.2.\(id):8800", role: .voter, macs: try macs.map { MemberMACs(try $0.map(mac)) })
        }
        func members(_ ids: DqliteNodeID...) -> [DqliteMember] {
            ids.map { DqliteMember(id: $0, address: "192.0.2.\($0):8800", role: .voter) }
        }
        var roster = Roster(
            clusterID: "x", term: 3, leader: 1, members: [try entry(1, [1]), try entry(2, [2, 12]), try entry(3, nil)])
        #expect(roster.macs(of: members(1, 2, 3), but: 2) == nil)
        #expect(roster.macs(of: members(1, 2), but: 1) == [try mac(2), try mac(12)])
        // A member that is newer than the roster, and one that said nothing of use.
        #expect(roster.macs(of: members(1, 2, 4), but: 1) == nil)
        roster.members[2] = try entry(3, [])
        #expect(roster.macs(of: members(1, 2, 3), but: 1) == nil)
        roster.members[2] = try entry(3, [3])
        #expect(roster.macs(of: members(1, 2, 3), but: 1) == [try mac(2), try mac(12), try mac(3)])
        #expect(roster.macs(of: members(1), but: 1) == nil)
        #expect(roster.macs(of: [], but: 1) == nil)
    }

    @Test(
        "who was a member until a moment ago counts still: its kernel may serve the address while another disk has its place"
    )
    func former() throws {
        func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }
        func members(_ ids: DqliteNodeID...) -> [DqliteMember] {
            ids.map { DqliteMember(id: $0, address: "192.0.2.\($0):8800", role: .voter) }
        }
        func roster(_ ids: DqliteNodeID...) throws -> Roster {
            Roster(
                clusterID: "x", term: 3, leader: 1,
                members: try ids.map {
                    Roster.Member(
                        id: $0, address: "192.0.2.\($0):8800", role: .voter, macs: MemberMACs([try mac(UInt8($0))]))
                })
        }
        var book = MACBook()
        #expect(book.all(now: at(0)) == nil)
        book.note(members(1, 2, 3), try roster(1, 2, 3), but: 1, now: at(1000))
        #expect(book.all(now: at(1000)) == [try mac(2), try mac(3)])
        // 3 is replaced.
        book.note(members(1, 2), try roster(1, 2, 3), but: 1, now: at(1100))
        #expect(book.all(now: at(1100)) == [try mac(2), try mac(3)])
        book.note(members(1, 2), try roster(1, 2), but: 1, now: at(3900))
        #expect(book.all(now: at(3999)) == [try mac(2), try mac(3)])
        #expect(book.all(now: at(4001)) == [try mac(2)])
        // One that nobody knows yet, and that is gone again.
        book.note(members(1, 2, 4), try roster(1, 2), but: 1, now: at(5000))
        book.note(members(1, 2), try roster(1, 2), but: 1, now: at(5100))
        #expect(book.all(now: at(7900)) == nil)
        book.note(members(1, 2), try roster(1, 2), but: 1, now: at(8100))
        #expect(book.all(now: at(8100)) == [try mac(2)])
    }
}
