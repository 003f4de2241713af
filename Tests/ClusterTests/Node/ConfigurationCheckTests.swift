import Dqlite
import Testing

@testable import Cluster

@Suite("Whether the local node believes what its log lists")
struct ConfigurationCheckTests {
    /// `V1 V2 .4`: voters 1 and 2, and 4 as a spare.
    private static func members(_ line: String) -> Set<DqliteMember> {
        Set(
            line.split(separator: " ").map { word in
                let id = DqliteNodeID(word.dropFirst()) ?? 0
                return DqliteMember(id: id, address: "n\(id)", role: word.first == "V" ? .voter : .spare)
            })
    }

    private static func look(_ believed: String, _ listed: String, last: UInt64 = 50) -> ConfigurationCheck.Look {
        .init(believed: members(believed), listed: members(listed), lastIndex: last)
    }

    private static let three = "V1 V2 V3"

    @Test("what was the newest at the start is compared until it is known to be committed, and once more after that")
    func settles() {
        var check = ConfigurationCheck(own: 1, newestAtStart: 50)
        #expect(check.look(Self.look(Self.three, Self.three), committed: 0) == .open)
        #expect(check.look(Self.look(Self.three, Self.three), committed: 49) == .open)
        // What replaces it may just be on its way to the disk.
        #expect(check.look(Self.look(Self.three, Self.three), committed: 50) == .open)
        #expect(check.look(nil, committed: 51) == .open)
        #expect(check.look(Self.look(Self.three, Self.three, last: 52), committed: 52) == .settled)
    }

    @Test("what is gone is not to be committed any more")
    func gone() {
        var check = ConfigurationCheck(own: 1, newestAtStart: 50)
        #expect(check.look(Self.look(Self.three, Self.three, last: 48), committed: 48) == .settled)
    }

    @Test("a sole voter has nobody who could overwrite anything")
    func sole() {
        var check = ConfigurationCheck(own: 1, newestAtStart: 50)
        #expect(check.look(Self.look("V1 .2", "V1 .2"), committed: 0) == .settled)
        var other = ConfigurationCheck(own: 2, newestAtStart: 50)
        #expect(other.look(Self.look("V1 .2", "V1 .2"), committed: 0) == .open)
    }

    @Test("a list that the log does not have, in two looks in a row, is wrong; both lists are named")
    func wrong() {
        var check = ConfigurationCheck(own: 1, newestAtStart: 50)
        let look = Self.look("V1 V2 V3 .4", "V1 V2 V3 V4")
        #expect(check.look(look, committed: 50) == .open)
        #expect(
            check.look(look, committed: 51)
                == .wrong(
                    "it takes 1 at n1 (voter), 2 at n2 (voter), 3 at n3 (voter), 4 at n4 (spare) for the members, and its log lists "
                        + "1 at n1 (voter), 2 at n2 (voter), 3 at n3 (voter), 4 at n4 (voter)"))
    }

    @Test("what differs once, or in another way the next time, is a change that is under way")
    func underWay() {
        var check = ConfigurationCheck(own: 1, newestAtStart: 50)
        #expect(check.look(Self.look(Self.three, "V1 V2"), committed: 50) == .open)
        #expect(check.look(Self.look("V1 V2", Self.three), committed: 50) == .open)
        #expect(check.look(Self.look("V1 V2", "V1"), committed: 50) == .open)
        #expect(check.look(Self.look("V1 V2", "V1 V2"), committed: 50) == .settled)
    }

    @Test("a look in which something was under way neither counts nor clears what was seen")
    func unsettled() {
        var check = ConfigurationCheck(own: 1, newestAtStart: 50)
        #expect(check.look(Self.look(Self.three, "V1 V2"), committed: 50) == .open)
        #expect(check.look(nil, committed: 50) == .open)
        guard case .wrong = check.look(Self.look(Self.three, "V1 V2"), committed: 50) else { return _ = Issue.record() }
    }
}
