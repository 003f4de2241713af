import Dqlite
import Platform
import Testing

@testable import Cluster

@Suite("What is left of a change of address")
struct MoveCoreTests {
    private let core = MoveCore(voters: 3, standbys: 1)

    /// Ids 1... with these roles: V voter, s stand-by, . spare; a blank is no member.
    private func members(_ roles: String) -> [DqliteMember] {
        roles.enumerated().compactMap { index, letter in
            let role: DqliteRole? =
                switch letter {
                case "V": .voter
                case "s": .standby
                case ".": .spare
                default: nil
                }
            return role.map { DqliteMember(id: DqliteNodeID(index + 1), address: "10.0.0.\(index + 1):1", role: $0) }
        }
    }

    /// Node 1 leads; node 3 moves to 10.0.0.30.
    private func next(
        _ roles: String, was role: DqliteRole = .voter, present: Set<DqliteNodeID> = [1, 2, 3, 4, 5],
        place: String? = nil, isNonVoter: Bool = false
    ) throws -> MoveCore.Step {
        core.next(
            MovingNode(dqliteID: 3, address: "10.0.0.30:1", role: role), members(roles), present: present,
            place: try place.map { try HostPort(parsing: $0) }, isNonVoter: isNonVoter)
    }

    @Test("who is not listed and answers is added there, and where it has moved to since")
    func added() throws {
        #expect(try next("VV", place: "10.0.0.30:1") == .add(address: "10.0.0.30:1"))
        #expect(try next("VV", was: .spare, place: "10.0.0.31:1") == .add(address: "10.0.0.31:1"))
    }

    @Test("an address that another is listed with is not given twice")
    func taken() throws {
        #expect(try next("VV", place: "10.0.0.2:1") == .add(address: "moving-3:0"))
    }

    @Test("who does not answer is not waited for; and nothing is begun that could not be committed")
    func waits() throws {
        #expect(try next("VV") == .wait("it does not answer at 10.0.0.30:1"))
        for (roles, present, place) in [
            ("VV", [1, 3], "10.0.0.30:1"), ("VV.", [1, 2], nil), ("VV.VV", [1, 3], nil),
        ] as [(String, Set<DqliteNodeID>, String?)] {
            guard case .wait = try next(roles, present: present, place: place) else {
                Issue.record("\(roles) with \(present)")
                continue
            }
        }
    }

    @Test("who is listed again gets the role that it had")
    func role() throws {
        #expect(try next("VV.") == .assign(.voter))
        #expect(try next("VVs") == .assign(.voter))
        #expect(try next("VV.", was: .standby) == .assign(.standby))
        // The majority of three is there with it.
        #expect(try next("V .", present: [1, 3]) == .assign(.voter))
        #expect(try next("VV.", present: [1, 3]) == .assign(.voter))
    }

    @Test("with its role, or one that another has been given meanwhile, or that it does not want, nothing is left")
    func forgotten() throws {
        #expect(try next("VVV") == .forget)
        #expect(try next("VVV", present: [1, 2]) == .forget, "the removal never came about")
        #expect(try next("VV.", was: .spare, present: [1, 2]) == .forget)
        #expect(try next("VV.V") == .forget)
        #expect(try next("VV.Vs", was: .standby) == .forget)
        #expect(try next("VV.", isNonVoter: true) == .forget)
    }

    @Test("of an even number of voters there was one more before")
    func even() throws {
        #expect(try next("VV.VV") == .assign(.voter))
    }
}
