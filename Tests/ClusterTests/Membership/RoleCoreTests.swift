import Dqlite
import Platform
import Testing

@testable import Cluster

/// A cluster in one line: `A` voter, `a` stand-by, `.` spare; the letter of a failure domain is not part of it.
/// Each member is ROLE ID PRESENCE, like `V1 V2- s3 .4`: V voter, s stand-by, . spare; `-` gone for long, `~` gone just now,
/// `<` and for 100 s by the word of the leader before, `+` back just now, `!` non-voter, `*` stuck, `@x` in the failure domain x. Node 1
/// leads.
struct RoleLine {
    static let now = BootInstant(nanoseconds: 1_000_000_000_000)
    var members: [RoleCore.Member]

    init(_ text: String) throws {
        members = try text.split(separator: " ").map { word in
            var rest = word.dropFirst()
            let digits = rest.prefix { $0.isNumber }
            rest = rest.dropFirst(digits.count)
            var member = RoleCore.Member(
                id: try #require(UInt64(digits)),
                role: word.first == "V" ? .voter : word.first == "s" ? .standby : .spare,
                presence: .reachable(since: Self.now.advanced(by: .seconds(-100))))
            while let mark = rest.popFirst() {
                switch mark {
                case "-": member.presence = .gone(since: Self.now.advanced(by: .seconds(-20)))
                case "=": member.presence = .gone(since: Self.now.advanced(by: .seconds(-30)))
                case "~": member.presence = .gone(since: Self.now.advanced(by: .seconds(-3)))
                case "<": member.absentSince = Self.now.advanced(by: .seconds(-100))
                case "+": member.presence = .reachable(since: Self.now.advanced(by: .milliseconds(-400)))
                case "!": member.isNonVoter = true
                case "*": member.isStuck = true
                case "@": member.failureDomain = rest.popFirst().map(String.init)
                default: Issue.record("\(word)")
                }
            }
            return member
        }
    }
}

extension RoleCore.Decision {
    /// `V4` makes 4 a voter, `s4` a stand-by, `.4` a spare, `x4` removes it; `wait 7` looks again after 7 s, `nothing`.
    var text: String {
        switch self {
        case .assign(let id, .voter, _): "V\(id)"
        case .assign(let id, .standby, _): "s\(id)"
        case .assign(let id, .spare, _): ".\(id)"
        case .remove(let id): "x\(id)"
        case .nothing(nil): "nothing"
        case .nothing(let until?):
            "wait \(Double(RoleLine.now.duration(to: until).inMilliseconds) / 1000)"
        }
    }
}

@Suite("What the leader does about roles")
struct RoleCoreTests {
    static func core(
        voters: Int = 3, standbys: Int = 3, given: Bool = false, reap: MembershipOptions.ReapTimes = .init()
    ) -> RoleCore {
        var options = MembershipOptions()
        options.standbys = standbys
        options.votersAreGiven = given
        options.reapAfter = reap
        return RoleCore(policy: RolePolicy(voters: voters, standbys: standbys), options: options)
    }

    private func decide(_ line: String, _ core: RoleCore = Self.core()) throws -> String {
        core.decide(try RoleLine(line).members, own: 1, now: RoleLine.now).text
    }

    @Test(
        "golden cases with three voters and three stand-bys",
        arguments: [
            // All is well.
            ("V1", "nothing"), ("V1 V2", "nothing"), ("V1 V2 V3", "nothing"), ("V1 V2 V3 s4", "nothing"),
            ("V1 V2 V3 s4 s5 s6 .7 .8", "nothing"),
            // A voter is missing: who has the data becomes one, then who has not; never a non-voter, nor who is not there.
            ("V1 V2 s3", "V3"), ("V1 s2 s3", "V2"), ("V1 V2 .3 s4", "V4"), ("V1 V2 .3", "V3"),
            ("V1 V2 .3!", "nothing"), ("V1 V2 s3-", "nothing"), ("V1 V2 s3~", "wait 7.0"),
            // Who has just come back may go again.
            ("V1 V2 s3+", "wait 0.6"),
            // A dead voter: the replacement first, then it is taken back; not before the time is up.
            ("V1 V2 V3~ s4", "wait 7.0"), ("V1 V2 V3- s4", "V4"), ("V1 V2 V3- V4", ".3"), ("V1 V2 .3- V4", "nothing"),
            ("V1 V2 V3- .4", "V4"), ("V1 V2 V3- s4+", "wait 0.6"), ("V1 V2 V3- s4-", "nothing"),
            // It comes back before it was taken back: one of four goes, which costs nothing.
            ("V1 V2 V3 V4", "s4"), ("V1 V2 V3 V4~", "wait 7.0"),
            // It comes back later: a stand-by again.
            ("V1 V2 .3 V4", "s3"), ("V1 V2 .3+ V4", "wait 0.6"),
            // Without a replacement: of three nothing is gained, of four the majority is smaller.
            ("V1 V2 V3-", "nothing"), ("V1 V2 V3 V4-", ".4"), ("V1 V2 V3 V4- V5", ".4"),
            // No majority: hands off.
            ("V1 V2-", "nothing"), ("V1 V2- V3-", "nothing"), ("V1 V2- V3- s4 s5", "nothing"),
            ("V1 V2~ V3- s4", "wait 7.0"),
            // Two of five, with three wanted: the longest gone first.
            ("V1 V2 V3 V4- V5=", ".5"), ("V1 V2 V3 V4-", ".4"),
            // Stand-bys: up to three; a dead one gives its place to a living spare, and otherwise keeps it.
            ("V1 V2 V3 .4", "s4"), ("V1 V2 V3 .4!", "nothing"), ("V1 V2 V3 s4- s5 s6 .7", ".4"),
            ("V1 V2 V3 s4- s5 s6", "nothing"), ("V1 V2 V3 .4- s5 s6 .7", "s7"), ("V1 V2 V3 s4 s5 s6 s7", ".7"),
            ("V1 V2 V3 s4- s5 s6 s7", ".4"), ("V1 V2 V3 s4~ s5 s6 .7", "wait 7.0"),
            // Non-voters do nothing but know.
            ("V1 V2 V3 s4!", ".4"), ("V1 V2 V3! s4", "V4"), ("V1 V2 V3! V4", ".3"), ("V1 V2 V3!", ".3"),
            // The leader goes on until another leads.
            ("V1! V2 V3", "nothing"), ("V1! V2 V3 s4", "nothing"),
            // Failure domains of those that stay.
            ("V1@a V2@b V3-@c s4@a s5@c", "V5"), ("V1@a V2@b V3-@c s4@b s5@a", "V4"), ("V1@a V2@a s3@a s4@b", "V4"),
            ("V1@a V2@b V3@b V4@c", "s3"), ("V1 V2 V3- s4 s5@x", "V5"),
        ])
    func golden(line: String, decision: String) throws {
        #expect(try decide(line) == decision, "\(line)")
    }

    @Test("founders beyond the number wanted stay voters, unless --voters says that they are too many")
    func founders() throws {
        #expect(try decide("V1 V2 V3 V4 V5") == "nothing")
        #expect(try decide("V1 V2 V3 V4 V5", Self.core(given: true)) == "s5")
        #expect(try decide("V1 V2 V3 V4 s5", Self.core(given: true)) == "s4")
        #expect(try decide("V1 V2 V3 V4 s5", Self.core()) == "s4")
        // Four founders, five wanted: a fourth vote does no harm, and a fifth is welcome.
        #expect(try decide("V1 V2 V3 V4", Self.core(voters: 5)) == "nothing")
        #expect(try decide("V1 V2 V3 V4 s5", Self.core(voters: 5)) == "V5")
        #expect(try decide("V1 V2 V3 V4-", Self.core(voters: 5)) == ".4")
        #expect(try decide("V1 V2 V3 .4-", Self.core(voters: 5)) == "nothing")
        #expect(try decide("V1 V2 V3 .4", Self.core(voters: 5)) == "V4")
    }

    @Test("two dead of five are replaced one after the other, each replacement before its dead")
    func twoOfFive() throws {
        let core = Self.core(voters: 5)
        #expect(try decide("V1 V2 V3 V4- V5- s6 s7", core) == "V6")
        #expect(try decide("V1 V2 V3 V4- V5- V6 s7", core) == ".4")
        #expect(try decide("V1 V2 V3 .4- V5- V6 s7", core) == "V7")
        #expect(try decide("V1 V2 V3 .4- V5- V6 V7", core) == ".5")
        #expect(try decide("V1 V2 V3 .4- .5- V6 V7", core) == "nothing")
    }

    @Test("reaping: by role, never the leader, never below three voters, and only with a majority before and after")
    func reaping() throws {
        let all = Self.core(reap: .init(voter: .seconds(15), standBy: .seconds(15), spare: .seconds(15)))
        #expect(try decide("V1 V2 V3 s4-", all) == "x4")
        #expect(try decide("V1 V2 V3 .4-", all) == "x4")
        #expect(try decide("V1 V2 V3 .4~", all) == "wait 7.0")
        #expect(try decide("V1 V2 V3-", all) == "nothing", "two voters survive nothing")
        #expect(try decide("V1 V2-", all) == "nothing")
        #expect(try decide("V1 V2- s3-", all) == "nothing", "nothing can be committed")
        let spares = Self.core(reap: .init(spare: .seconds(15)))
        #expect(try decide("V1 V2 V3 s4- .5-", spares) == "x5")
        #expect(try decide("V1 V2 V3 s4-", spares) == "nothing")
        let five = Self.core(voters: 5, reap: .init(voter: .seconds(15)))
        #expect(try decide("V1 V2 V3 V4 V5-", five) == "x5")
        #expect(try decide("V1 V2 V3 V4- V5-", five) == "x4", "three of four are there")
        let later = Self.core(reap: .init(spare: .seconds(25)))
        #expect(try decide("V1 V2 V3 .4-", later) == "wait 5.0")
    }

    @Test("an absence seen by the leader before counts for reaping, once this one has missed the member for a while")
    func reapingAfterAnotherLeader() throws {
        let minute = Self.core(reap: .init(voter: .seconds(60), standBy: .seconds(60), spare: .seconds(60)))
        #expect(try decide("V1 V2 V3 .4-", minute) == "wait 40.0", "20 of 60 s")
        #expect(try decide("V1 V2 V3 .4-<", minute) == "x4")
        #expect(try decide("V1 V2 V3 .4~<", minute) == "wait 7.0", "3 of the 10 s of --demote-after")
        #expect(try decide("V1 V2 V3 V4 V5~<", Self.core(voters: 5)) == "wait 7.0", "for the roles it does not count")
        #expect(try decide("V1 V2 V3-<", minute) == "nothing", "two voters survive nothing")
        let hours = Self.core(reap: .init(spare: .seconds(3600)))
        #expect(try decide("V1 V2 V3 .4-<", hours) == "wait 3500.0")
        let moment = Self.core(reap: .init(spare: .seconds(5)))
        #expect(try decide("V1 V2 V3 .4~<", moment) == "wait 2.0", "never later than without")
    }

    @Test("who takes nothing counts neither for a majority nor as lost: it keeps its place, and is no replacement")
    func stuck() throws {
        #expect(try decide("V1 V2 V3* s4") == "nothing")
        #expect(try decide("V1 V2 V3- s4*") == "nothing")
        #expect(try decide("V1 V2* V3- s4") == "nothing", "nothing can be committed")
        // One of four is too many, and it may turn out to be the one that is stuck.
        #expect(try decide("V1 V2 V3 V4*") == "nothing")
        #expect(try decide("V1* V2 V3- s4") == "V4", "the leader itself is not stuck")
        let all = Self.core(reap: .init(voter: .seconds(15), standBy: .seconds(15), spare: .seconds(15)))
        #expect(try decide("V1 V2 V3 V4 V5*", all) == "nothing")
        func objects(_ line: String, _ id: UInt64) throws -> Bool {
            RoleCore.objection(toRemoving: id, try RoleLine(line).members, own: 1) != nil
        }
        #expect(try objects("V1 V2 V3*", 2))
        #expect(try !objects("V1 V2 V3*", 3))
    }

    @Test("no stand-bys wanted: all others are spares, and replace a voter all the same")
    func noStandbys() throws {
        let core = Self.core(standbys: 0)
        #expect(try decide("V1 V2 V3 s4", core) == ".4")
        #expect(try decide("V1 V2 V3 .4", core) == "nothing")
        #expect(try decide("V1 V2 V3- .4", core) == "V4")
        #expect(try decide("V1 V2 V3 V4", core) == ".4")
    }

    @Test("removal: refused when no majority of the rest would be there, and when there is none now")
    func removal() throws {
        func objects(_ line: String, _ id: UInt64) throws -> Bool {
            RoleCore.objection(toRemoving: id, try RoleLine(line).members, own: 1) != nil
        }
        #expect(try !objects("V1 V2 V3", 3))
        #expect(try !objects("V1 V2 V3-", 3))
        #expect(try objects("V1 V2 V3-", 2))
        #expect(try !objects("V1 V2", 2))
        #expect(try objects("V1 V2-", 2))
        #expect(try objects("V1 V2- V3- s4", 4))
        #expect(try !objects("V1 V2 V3- s4", 4))
        #expect(try objects("V1 V2 V3 V4- V5-", 3))
        #expect(try !objects("V1 V2 V3 V4- V5-", 5))
    }

    @Test("how many failures are survived")
    func survived() {
        let cases: [(Int, Int, Int?)] = [
            (1, 1, 0), (2, 2, 0), (2, 1, nil), (3, 3, 1), (3, 2, 0), (3, 1, nil), (4, 4, 1), (5, 5, 2), (5, 3, 0),
            (7, 7, 3), (7, 3, nil), (0, 0, nil),
        ]
        for (voters, reachable, failures) in cases {
            #expect(RoleCore.failuresSurvived(voters: voters, reachable: reachable) == failures)
        }
    }
}
