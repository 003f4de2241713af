import Dqlite
import Platform
import Testing

@testable import Cluster

@Suite("Whom libdqlite dials")
struct MemberNamesTests {
    private let now = BootInstant(nanoseconds: 1_000_000_000)

    private func member(_ id: DqliteNodeID, _ address: String) -> DqliteMember {
        DqliteMember(id: id, address: address, role: .voter)
    }

    private func configuration(_ members: (DqliteNodeID, String)...) throws -> RaftConfiguration {
        var bytes: [UInt8] = [1] + withUnsafeBytes(of: UInt64(members.count).littleEndian) { Array($0) }
        for (id, address) in members {
            bytes += withUnsafeBytes(of: id.littleEndian) { Array($0) } + Array(address.utf8) + [0, 1]
        }
        return try #require(bytes.withUnsafeBytes { RaftConfiguration($0) })
    }

    private func dials(
        _ names: MemberNames, _ address: String, _ members: [DqliteMember], introduced: [DqliteNodeID: String] = [:],
        connected: Set<DqliteNodeID> = [], after time: Duration = .zero
    ) -> DqliteNodeID? {
        names.member(
            dialledAs: address, own: 1, members: members, introduced: introduced,
            isConnected: { connected.contains($0) }, now: now.advanced(by: time))
    }

    @Test("the member that the configuration has there; nobody when it has none, and never the node itself")
    func plain() {
        let names = MemberNames()
        let members = [member(1, "a"), member(2, "b"), member(3, "c")]
        #expect(dials(names, "b", members) == 2)
        #expect(dials(names, "d", members) == nil)
        #expect(dials(names, "a", members) == nil)
    }

    @Test("a node that has no configuration yet knows its peers as they introduced themselves; one that has, does not")
    func introduced() {
        let names = MemberNames()
        #expect(dials(names, "x", [], introduced: [2: "x"]) == 2)
        #expect(dials(names, "b", [member(3, "b")], introduced: [2: "b"]) == 3)
        #expect(dials(names, "x", [], introduced: [2: "x", 3: "x"]) == nil)
    }

    @Test("a peer that has the address of a member which is gone, as only others know, is not taken for that member")
    func successor() throws {
        var names = MemberNames()
        let old = [member(2, "b"), member(3, "c")]
        #expect(names.introduction(of: 2, as: "x", members: old, now: now) == "b", "it has moved")
        #expect(names.introduction(of: 9, as: "x", members: old, now: now) == "x")
        let alias = names.introduction(of: 9, as: "b", members: old, now: now)
        #expect(alias != "b")
        #expect(dials(names, alias, old, introduced: [9: alias]) == 9)
        #expect(dials(names, "b", old, introduced: [9: alias]) == 2)
        names.saw(try configuration((9, "b"), (3, "c")), now: now)
        #expect(names.introduction(of: 9, as: "b", members: old, now: now) == alias, "until it is stored here")
        #expect(names.introduction(of: 9, as: "b", members: [member(9, "b"), member(3, "c")], now: now) == "b")
    }

    @Test("a configuration that has passed counts before it is read: of two that disagree, neither")
    func disagreement() throws {
        var names = MemberNames()
        let read = [member(2, "b"), member(3, "c")]
        names.saw(try configuration((2, "c"), (3, "b")), now: now)
        #expect(dials(names, "b", read) == nil)
        #expect(names.address(of: 2, members: read, now: now) == nil)
        #expect(dials(names, "b", read, after: MemberNames.memory) == 2, "it was read anew since")
        #expect(dials(names, "b", [member(2, "c"), member(3, "b")]) == 3)
        #expect(names.address(of: 3, members: [member(3, "b")], now: now) == "b")
    }

    @Test("two members that have changed places: the one that libdqlite holds already is not dialled again")
    func swapped() {
        var names = MemberNames()
        names.wasDialled(2, as: "b")
        let after = [member(2, "c"), member(3, "b")]
        #expect(dials(names, "b", after, connected: [2]) == 3)
        // It may be 2, by the address that libdqlite knows it by, or 3, by the configuration: a vote must not go astray.
        #expect(dials(names, "b", after) == nil)
    }

    @Test("a member that has moved is still dialled by its first address")
    func redialled() {
        var names = MemberNames()
        names.wasDialled(2, as: "b")
        #expect(dials(names, "b", [member(2, "x")]) == 2)
        names.forget(2)
        #expect(dials(names, "b", [member(2, "x")]) == nil)
    }
}

@Suite("Where members are")
struct AddressBookTests {
    private func address(_ port: UInt16) -> HostPort { HostPort(host: "192.0.2.1", port: port) }

    @Test("where a member was met comes first, then what the configuration says; a placeholder is no place")
    func places() {
        let book = AddressBook()
        let member = DqliteMember(id: 2, address: "192.0.2.1:1", role: .voter)
        #expect(book.places(of: member) == [address(1)])
        #expect(book.learn(2, at: address(5)))
        #expect(!book.learn(2, at: address(5)))
        #expect(book.places(of: member) == [address(5), address(1)])
        let moving = DqliteMember(id: 2, address: Membership.placeholder(for: 2), role: .voter)
        #expect(book.places(of: moving) == [address(5)])
        book.keep(only: [3])
        #expect(book.places(of: moving).isEmpty)
    }

    @Test("strangers cannot make it grow for ever")
    func bounded() {
        let book = AddressBook()
        for id in 1...1000 { book.learn(DqliteNodeID(id), at: address(1)) }
        #expect((1...1000).count { book[DqliteNodeID($0)] != nil } == AddressBook.most)
    }
}
