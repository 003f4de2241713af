import API
import ArgumentParser
import Discovery
import FoundationEssentials
import Glibc
import Logging
import Platform
import ServiceLifecycle
import Synchronization
import Testing

@testable import dqlite_vip

@Suite struct APIOptionsTests {
    @Test(
        "the API is where --api says, else where the environment says, else on loopback",
        arguments: [
            (nil, nil, "127.0.0.1:9900"), (nil, "", "127.0.0.1:9900"), (nil, "h:1", "h:1"), ("g:2", "h:1", "g:2"),
            ("g", nil, "g:9900"), ("http://g:2/", nil, "g:2"), ("[::1]:3", nil, "[::1]:3"),
        ] as [(String?, String?, String)])
    func address(flag: String?, variable: String?, expected: String) throws {
        let options = try APIOptions.parse(flag.map { ["--api", $0] } ?? [])
        #expect(
            try options.address(environment: variable.map { ["DQLITE_VIP_API": $0] } ?? [:]).description == expected)
    }

    @Test("a bad address is a usage error that names its origin")
    func bad() throws {
        for (flag, variable, origin) in [("x:y", nil, "--api"), ("", "h:1", "--api"), (nil, "x:y", "DQLITE_VIP_API")]
            as [(String?, String?, String)]
        {
            let options = try APIOptions.parse(flag.map { ["--api", $0] } ?? [])
            let error = #expect(throws: ValidationError.self) {
                try options.address(environment: variable.map { ["DQLITE_VIP_API": $0] } ?? [:])
            }
            #expect(error?.message.hasPrefix(origin) == true)
        }
    }
}

@Suite struct StatusTableTests {
    private static func report() -> StatusReport {
        StatusReport(
            id: 2, leaderID: 1, isLeader: false,
            clusterMembers: [
                ClusterMember(id: 1, address: "192.0.2.1:8800", role: .voter, name: "one"),
                ClusterMember(id: 2, address: "192.0.2.2:8800", role: .standBy),
            ],
            nodeID: "uuid-2", name: "two", address: "192.0.2.2:8800", clusterID: "uuid-c", clusterName: "prod",
            state: .formed, term: 7, vip: "192.0.2.10/24", holdsVIP: false,
            discovery: DiscoveryReport(
                mode: "static", lastContact: WallTime(milliseconds: 0), lastAddresses: ["192.0.2.1:8800"]),
            version: "0.1.0", uptimeSeconds: 3725)
    }

    @Test("a healthy follower, every line of it")
    func follower() {
        #expect(
            StatusTable(Self.report()).text.description == """
                cluster     prod: formed, id uuid-c, term 7
                node        two, 192.0.2.2:8800, id 2, uuid-2
                leader      one (192.0.2.1:8800)
                virtual IP  192.0.2.10/24, with the leader one (192.0.2.1:8800)
                discovery   static; 192.0.2.1:8800; last answer 1970-01-01T00:00:00.000Z
                daemon      version 0.1.0, up 1 h 2 min

                ID  NAME  ADDRESS         ROLE
                1   one   192.0.2.1:8800  voter     leader
                2   -     192.0.2.2:8800  stand-by  this node

                """)
    }

    @Test("a leader tells how long its lease lasts, or why it has none; and where the time of its last take-over went")
    func failover() throws {
        func lines(_ change: (inout StatusReport) -> Void) -> [Substring] {
            var report = Self.report()
            report.isLeader = true
            report.failover = FailoverReport(
                timing: .init(
                    profile: "lan", latency: 1, heartbeat: 30, electionTimeout: 300, lease: 150, silence: 120),
                leaseRemaining: 131.27, takeovers: .init(), addresses: .init())
            change(&report)
            return StatusTable(report).text.description.split(separator: "\n").filter {
                $0.hasPrefix("lease") || $0.hasPrefix("take-over")
            }
        }
        #expect(lines { _ in } == ["lease       131 ms left of 150, extended every 30.0 ms"])
        #expect(lines { $0.isLeader = false } == [])
        #expect(lines { $0.failover = nil } == [])
        #expect(
            lines { $0.failover?.leaseRemaining = nil } == ["lease       not needed: this node is the only voter"])
        let two = lines {
            $0.failover?.leaseRemaining = nil
            $0.clusterMembers[1].role = .voter
        }
        #expect(two == ["lease       none: no majority of the voters has confirmed that it leads"])
        let last = FailoverReport.Takeover(
            term: 8, at: WallTime(milliseconds: 0), reason: "dead", total: 24.61,
            phases: ["election": 15.25, "detection": 2, "announce": 0.31])
        let line = lines { $0.failover?.takeovers.last = last }.last.map(String.init)
        #expect(
            line
                == "take-over   1970-01-01T00:00:00.000Z, term 8, the leader's process was dead: 24.6 ms "
                + "(detection 2.0, election 15.3, announce 0.3)")
    }

    @Test("labels have a column of their own, as soon as one node has any")
    func labels() {
        var report = Self.report()
        report.clusterMembers[0].labels = ["rack": "3", "arch": "arm"]
        let lines = StatusTable(report).text.description.split(separator: "\n").suffix(3)
        #expect(
            Array(lines) == [
                "ID  NAME  ADDRESS         ROLE      LABELS",
                "1   one   192.0.2.1:8800  voter     arch=arm,rack=3  leader",
                "2   -     192.0.2.2:8800  stand-by  -                this node",
            ])
    }

    @Test("a node that is still looking for others says what it waits for")
    func forming() {
        let report = StatusReport(
            nodeID: "u", name: "n", address: "", clusterName: "prod", state: .forming,
            waitingFor: "2 more nodes", discovery: DiscoveryReport(mode: "static", lastError: "cannot resolve \"a\""),
            version: "0.1.0", uptimeSeconds: 0, warnings: ["first", "second"])
        #expect(
            StatusTable(report).text.description == """
                cluster      prod: forming
                node         n, u
                leader       none known
                virtual IP   none set (dqlite-vip vip set ADDRESS/PREFIX)
                waiting for  2 more nodes
                discovery    static; last error: cannot resolve "a"
                daemon       version 0.1.0, up 0 s
                warnings     first
                             second

                """)
    }

    @Test("whether others can find the node is told while it forms and when they cannot")
    func announcement() {
        func lines(_ state: NodeState, _ discovery: DiscoveryReport) -> [Substring] {
            var report = Self.report()
            report.state = state
            report.discovery = discovery
            return StatusTable(report).text.description.split(separator: "\n").filter {
                $0.contains("discovery") || $0.contains("regist")
            }
        }
        var discovery = DiscoveryReport(mode: "etcd-kv", key: "prod/web", isRegistered: true)
        #expect(lines(.formed, discovery) == ["discovery   etcd-kv (key prod/web)"])
        #expect(
            lines(.forming, discovery)
                == ["discovery   etcd-kv (key prod/web)", "            this node is registered there"])
        discovery.isRegistered = false
        discovery.announceError = "the lease is lost"
        for state in [NodeState.forming, .formed] {
            #expect(
                lines(state, discovery) == [
                    "discovery   etcd-kv (key prod/web)",
                    "            this node is not registered there: others cannot find it by this way",
                    "            registering: the lease is lost",
                ])
        }
    }

    @Test("who holds the address is told for each case, also the alarming ones")
    func holder() {
        func line(_ change: (inout StatusReport) -> Void) -> Substring? {
            var report = Self.report()
            change(&report)
            return StatusTable(report).text.description.split(separator: "\n").first { $0.hasPrefix("virtual IP") }
        }
        #expect(line { $0.holdsVIP = true }?.hasSuffix("192.0.2.10/24, held by this node") == true)
        #expect(line { $0.isLeader = true }?.hasSuffix("not held: this node leads and has not taken it") == true)
        #expect(line { $0.leaderID = 0 }?.hasSuffix("held by no node: there is no leader") == true)
        #expect(line { $0.leaderID = 9 }?.hasSuffix("with the leader id 9") == true)
    }

    @Test(
        "an age has its two largest units",
        arguments: zip(
            [0, 59, 60, 3599, 3600, 86_399, 86_400, 31_536_000] as [Int64],
            ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h", "365 d 0 h"]))
    func age(seconds: Int64, text: String) {
        #expect(StatusTable.age(seconds) == text)
    }
}

@Suite struct JoinCheckTests {
    private static func check(_ join: String) async -> JoinCheck {
        await JoinCheck.run(StaticDiscovery.parse([join]).entries, resolver: NameResolver(timeLimit: .seconds(20)))
    }

    @Test("addresses and names that resolve are no fault, and no list is none either")
    func fine() async {
        let check = await Self.check("192.0.2.1,localhost")
        #expect(check.message == nil && !check.isHopeless && check.addresses.count >= 2)
        let empty = await JoinCheck.run([])
        #expect(empty.message == nil && !empty.isHopeless)
    }

    @Test("a list that names the node itself alone is a fault for a node that only joins")
    func onlyItself() async {
        let own = HostPort(host: "127.0.0.1", port: 8800)
        let check = await Self.check("127.0.0.1")
        #expect(
            check.fault(own: own, expects: false)?.hasPrefix("--join names this node itself (127.0.0.1:8800)") == true)
        #expect(check.fault(own: own, expects: true) == nil)
        #expect(check.fault(own: HostPort(host: "127.0.0.1", port: 8801), expects: false) == nil)
        let more = await Self.check("127.0.0.1,192.0.2.1")
        #expect(more.fault(own: own, expects: false) == nil)
        let bad = JoinCheck(addresses: [], failures: ["cannot resolve \"a\""])
        #expect(bad.fault(own: own, expects: true) == bad.message)
        let some = JoinCheck(addresses: [own], failures: ["cannot resolve \"a\""])
        #expect(some.fault(own: own, expects: false) == nil)
    }

    @Test("one bad name is a warning, a list of bad names is hopeless, and both name the names")
    func bad() async {
        let some = await Self.check("192.0.2.1,no-such.invalid")
        #expect(!some.isHopeless && some.message?.hasPrefix("--join: some addresses cannot be resolved: ") == true)
        #expect(some.message?.contains("\"no-such.invalid\"") == true)
        let none = await Self.check("no-such.invalid,nor-this.invalid")
        #expect(none.isHopeless && none.message?.contains("not one of the addresses can be resolved") == true)
        #expect(
            none.message?.contains("\"no-such.invalid\"") == true
                && none.message?.contains("\"nor-this.invalid\"") == true)
    }
}

@Suite struct BlockingRunTests {
    @Test("a synchronous caller gets the value or the error of async work")
    func outcome() throws {
        #expect(
            try blockingRun {
                try await Task.sleep(for: .milliseconds(5))
                return 42
            } == 42)
        #expect(throws: SystemError("x", errno: 1)) { try blockingRun { throw SystemError("x", errno: 1) } }
    }
}

@Suite struct VersionTests {
    @Test("the library's number is major, minor and release")
    func library() {
        #expect(VersionReport.dqliteVersion(11_001) == "1.10.1")
        #expect(VersionReport.dqliteVersion(20_305) == "2.3.5")
        #expect(VersionReport.current.libdqlite.hasPrefix("1."))
    }
}
