import Cluster
import Platform
import Testing

@testable import dqlite_vip

@Suite("Settings of roles, leaving and reaping")
struct MembershipSettingsTests {
    private static let node = "-d /d -i eth0 "

    @Test("all have defaults, and arrive by flag and by variable")
    func values() throws {
        let plain = try settings(Self.node).membership
        #expect(plain == MembershipOptions())
        #expect(plain.standbys == 3 && plain.demoteAfter == .seconds(10) && plain.reapAfter == .init())
        let flags = try settings(
            Self.node + "--voters 5 --standbys 0 --demote-after 1500ms --failure-domain rack-7 --leave-on-shutdown "
                + "--reap-after 24h --rejoin"
        ).membership
        var expected = MembershipOptions()
        expected.votersAreGiven = true
        expected.standbys = 0
        expected.demoteAfter = .milliseconds(1500)
        expected.failureDomain = "rack-7"
        expected.leavesOnShutdown = true
        expected.reapAfter = .init(voter: .seconds(86_400), standBy: .seconds(86_400), spare: .seconds(86_400))
        expected.rejoins = true
        #expect(flags == expected)
        let variables = try settings(
            Self.node,
            environment: [
                "DQLITE_VIP_VOTERS": "5", "DQLITE_VIP_STANDBYS": "0", "DQLITE_VIP_DEMOTE_AFTER": "1500ms",
                "DQLITE_VIP_FAILURE_DOMAIN": "rack-7", "DQLITE_VIP_LEAVE_ON_SHUTDOWN": "yes",
                "DQLITE_VIP_REAP_AFTER": "1d", "DQLITE_VIP_REJOIN": "1",
            ]
        ).membership
        #expect(variables == expected)
        #expect(try !settings(Self.node, environment: ["DQLITE_VIP_REJOIN": "false"]).membership.rejoins)
    }

    @Test("reaping by role: what is not named is never reaped")
    func roles() throws {
        let some = try settings(Self.node + "--reap-after spare=1h,voter=3d").membership.reapAfter
        #expect(some == .init(voter: .seconds(3 * 86_400), standBy: nil, spare: .seconds(3600)))
        let other = try settings(Self.node + "--reap-after stand-by=90min").membership.reapAfter
        #expect(other == .init(standBy: .seconds(5400)))
    }

    @Test(
        "what makes no sense is refused with value and remedy",
        arguments: [
            ("--standbys x", "--standbys \"x\": give the number of stand-by nodes, from 0 to 100"),
            ("--demote-after 10", "--demote-after \"10\": \"10\" is no time"),
            ("--demote-after 1.5s", "--demote-after \"1.5s\": \"1.5s\" is no time"),
            ("--demote-after 10ms", "--demote-after \"10ms\": give a time from 1s to 1d"),
            ("--demote-after 99999999999999999999h", "is no time"),
            ("--demote-after 900000000h", "give a time from"),
            ("--demote-after 922337203685477580h", "is no time"),
            ("--reap-after 0s", "give a time from 1s to 365d"), ("--reap-after leader=1h", "\"leader=1h\" is no role"),
            ("--reap-after voter=1h,voter=2h", "voter is given twice"), ("--reap-after voter=1h,", "\"\" is no role"),
            ("--reap-after 5s", "a voter would be removed before it is replaced"),
            ("--failure-domain 'a b'", "give a word, like rack-7"), ("--failure-domain ''", "give a word"),
        ])
    func refused(flags: String, reason: String) throws {
        let found = try faults(Self.node + flags)
        #expect(found.count == 1 && found.first?.contains(reason) == true, "\(found)")
    }

    @Test("a time is written in the largest unit that fits", arguments: ["10s", "1500ms", "90min", "24h", "7d"])
    func times(text: String) throws {
        let time = try #require(Duration(timeText: text))
        #expect(Duration(timeText: time.timeText) == time)
        #expect(Duration.seconds(86_400).timeText == "1d" && Duration.milliseconds(90_000).timeText == "90s")
    }
}
