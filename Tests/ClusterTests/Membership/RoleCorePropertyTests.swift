import Dqlite
import Platform
import Testing

@testable import Cluster

/// Random clusters in which nodes come and go, and the core has its way one change at a time.
@Suite("What the leader does about roles, whatever happens")
struct RoleCorePropertyTests {
    private struct World {
        var random: BootstrapRandom
        var core: RoleCore
        var now = BootInstant(nanoseconds: 1_000_000_000_000)
        var members: [RoleCore.Member]

        init(seed: UInt64) {
            random = BootstrapRandom(seed: seed)
            let voters = [1, 3, 3, 3, 5, 7].randomElement(using: &random) ?? 3
            var options = MembershipOptions()
            options.standbys = Int.random(in: 0...3, using: &random)
            options.votersAreGiven = Bool.random(using: &random)
            if Bool.random(using: &random) {
                options.reapAfter = .init(voter: .seconds(60), standBy: .seconds(30), spare: .seconds(30))
            }
            core = RoleCore(policy: RolePolicy(voters: voters, standbys: options.standbys), options: options)
            members = []
            for id in 1...UInt64.random(in: 1...9, using: &random) {
                members.append(
                    RoleCore.Member(
                        id: id, role: id == 1 ? .voter : DqliteRole.allCases.randomElement(using: &random) ?? .spare,
                        isNonVoter: id > 1 && Int.random(in: 0..<8, using: &random) == 0,
                        failureDomain: ["a", "b", nil].randomElement(using: &random) ?? nil,
                        presence: .reachable(since: now.advanced(by: .seconds(-60)))))
            }
        }

        mutating func flip() {
            guard members.count > 1 else { return }
            let index = Int.random(in: 1..<members.count, using: &random)
            members[index].presence = members[index].isReachable ? .gone(since: now) : .reachable(since: now)
        }

        var voters: [RoleCore.Member] { members.filter { $0.role == .voter } }
        func isSafe(_ voters: [RoleCore.Member]) -> Bool {
            voters.count { $0.id == 1 || $0.isReachable } >= voters.count / 2 + 1
        }
        func isSteady(_ member: RoleCore.Member) -> Bool {
            if case .reachable(let since) = member.presence { return since.duration(to: now) >= .seconds(1) }
            return false
        }
        func survives(_ voters: [RoleCore.Member]) -> Int {
            voters.count { $0.id == 1 || $0.isReachable } - (voters.count / 2 + 1)
        }

        /// An expectation that costs nothing while it is met: there are many.
        func check(_ isMet: Bool, _ text: @autoclosure () -> String, _ seed: UInt64) {
            if !isMet { Issue.record("seed \(seed): \(text()), \(members)") }
        }

        /// Makes the change that is proposed, after judging it. Gives whether there was one.
        mutating func step(_ seed: UInt64) -> Bool {
            let before = members
            let votersBefore = voters
            let decision = core.decide(members, own: 1, now: now)
            let shuffled = members.shuffled(using: &random)
            check(decision == core.decide(shuffled, own: 1, now: now), "order", seed)
            switch decision {
            case .nothing(let until):
                if let until { check(until > now, "wrong", seed) }
                return false
            case .assign(let id, let role, _):
                guard let index = members.firstIndex(where: { $0.id == id }) else {
                    Issue.record("seed \(seed): \(id) is no member")
                    return false
                }
                check(id != 1 && members[index].role != role, "\(decision)", seed)
                if role.rawValue < members[index].role.rawValue {
                    check(isSteady(members[index]) && !members[index].isNonVoter, "\(decision)", seed)
                }
                members[index].role = role
            case .remove(let id):
                check(id != 1, "wrong", seed)
                guard case .gone(let since) = members.first(where: { $0.id == id })?.presence else {
                    Issue.record("seed \(seed): \(id) is there, and was removed")
                    return false
                }
                check(since.duration(to: now) >= .seconds(30), "wrong", seed)
                members.removeAll { $0.id == id }
                if voters.count != votersBefore.count { check(voters.count >= 3, "\(before)", seed) }
            }
            check(isSafe(votersBefore) && isSafe(voters), "\(before) \(decision)", seed)
            // Raft takes one voter more or less at a time.
            check(abs(voters.count - votersBefore.count) <= 1, "wrong", seed)
            check(voters.count <= max(core.voters + 1, votersBefore.count), "\(decision)", seed)
            // No change makes the cluster weaker, but the one that the operator asked for.
            let isAskedFor = core.mayShrink || before.contains { $0.isNonVoter && $0.role == .voter }
            if !isAskedFor { check(survives(voters) >= survives(votersBefore), "\(before) \(decision)", seed) }
            return true
        }
    }

    @Test("never an unsafe change, and an end of the changes when nobody comes or goes")
    func safety() {
        for seed in 1...1000 as ClosedRange<UInt64> {
            var world = World(seed: seed)
            for _ in 0..<30 {
                world.now = world.now.advanced(by: .milliseconds(Int64.random(in: 50...8000, using: &world.random)))
                if Int.random(in: 0..<3, using: &world.random) == 0 { world.flip() }
                _ = world.step(seed)
            }
            // From here on nothing happens but time.
            var changes = 0
            for _ in 0..<60 {
                world.now = world.now.advanced(by: .seconds(2))
                if world.step(seed) { changes += 1 }
            }
            #expect(changes <= 3 * 9, "seed \(seed)")
            world.now = world.now.advanced(by: .seconds(3600))
            for _ in 0..<20 { _ = world.step(seed) }
            let isRestless = world.step(seed)
            #expect(!isRestless, "seed \(seed): it does not come to rest")
        }
    }

    @Test("with everybody there, the wanted number of voters and stand-bys is reached")
    func convergence() {
        for seed in 1...1000 as ClosedRange<UInt64> {
            var world = World(seed: seed)
            for _ in 0..<40 { _ = world.step(seed) }
            let useful = world.members.filter { $0.id == 1 || !$0.isNonVoter }
            let voters = world.voters.count
            #expect(voters >= min(world.core.voters, useful.count), "seed \(seed)")
            if world.core.mayShrink { #expect(voters <= world.core.voters, "seed \(seed)") }
            #expect(!world.voters.contains { $0.isNonVoter }, "seed \(seed)")
            let standbys = world.members.count { $0.role == .standby }
            #expect(standbys == min(world.core.standbys, useful.count - voters), "seed \(seed)")
        }
    }
}

@Suite("Who has answered the leader")
struct MemberWatchTests {
    private let start = BootInstant(nanoseconds: 1_000_000_000)
    private func at(_ seconds: Int) -> BootInstant { start.advanced(by: .seconds(seconds)) }

    @Test("a member is gone since it answered last, and there since it began to answer again")
    func presence() {
        var watch = MemberWatch(now: start)
        watch.keep([2, 3], now: start)
        #expect(watch.presence(of: 2) == .gone(since: start))
        watch.answered(2, now: at(1))
        watch.answered(2, now: at(2))
        #expect(watch.presence(of: 2) == .reachable(since: at(1)))
        watch.silent(2)
        watch.silent(2)
        #expect(watch.presence(of: 2) == .gone(since: at(2)))
        watch.answered(2, now: at(9))
        #expect(watch.presence(of: 2) == .reachable(since: at(9)))
    }

    @Test("who became a member a moment ago is not gone for longer; who was one under the same id has no past")
    func newcomers() {
        var watch = MemberWatch(now: start)
        watch.keep([2], now: start)
        watch.keep([2, 3], now: at(60))
        #expect(watch.presence(of: 3) == .gone(since: at(60)))
        watch.answered(3, now: at(61))
        watch.keep([2], now: at(62))
        watch.keep([2, 3], now: at(70))
        #expect(watch.presence(of: 3) == .gone(since: at(70)))
    }

    @Test("a node asks whether it is still a member after some silence, and not all the time")
    func standing() {
        var watch = StandingWatch(now: start)
        let asked = (2...5).map { watch.isDue(heard: nil, now: at($0)) }
        #expect(asked == [false, true, false, true])
        let later = (8...9).map { watch.isDue(heard: at(6), now: at($0)) }
        #expect(later == [false, true])
    }
}
