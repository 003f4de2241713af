import API
import Glibc
import Logging
import Platform
import ServiceLifecycle
import Synchronization
import Testing

@testable import dqlite_vip

/// The built program, run by a shell, against a real API server with a control plane of the test.
@Suite struct BinaryTests {
    private final class Control: ControlPlane {
        let addresses = Mutex<[String]>([])
        let readiness = Mutex(ReadinessReport(isReady: true))

        func status() async -> StatusReport {
            StatusReport(
                id: 1, leaderID: 1, isLeader: true,
                clusterMembers: [ClusterMember(id: 1, address: "192.0.2.1:8800", role: .voter)], nodeID: "u",
                name: "n", address: "192.0.2.1:8800", clusterName: "c", state: .formed,
                vip: addresses.withLock { $0.first ?? "" }, discovery: DiscoveryReport(mode: "static"),
                version: "0.1.0", uptimeSeconds: 1
            )
        }
        func virtualAddresses() async throws -> [String] { addresses.withLock { $0 } }
        func setVirtualAddresses(_ texts: [String], ifOneOf present: [[String]]?) async throws {
            for text in texts where !text.contains("/") {
                throw ControlError(.invalid, "\"\(text)\" has no prefix length")
            }
            addresses.withLock { $0 = texts }
        }
        func failOver(to successor: String?) async throws -> HandOverReport {
            guard successor != "here" else { throw ControlError(.invalid, "here leads already") }
            return HandOverReport(
                leaderID: 2, leaderAddress: successor ?? "192.0.2.2:8800", isSeamless: true, tookMilliseconds: 9)
        }
        func nodes() async -> NodesReport {
            NodesReport(
                nodes: [
                    ClusterMember(
                        id: 1, address: "192.0.2.1:8800", role: .voter, name: "one", isReachable: true,
                        failureDomain: "rack-1"),
                    ClusterMember(
                        id: 22, address: "192.0.2.2:8800", role: .spare, isReachable: false,
                        unreachableSince: WallTime(milliseconds: 0), isNonVoter: true),
                ], failuresSurvived: 0, summary: "no failure is survived",
                removed: [
                    RemovedNodeReport(
                        id: 3, address: "192.0.2.3:8800", nodeID: nil, name: nil, reason: "left",
                        at: WallTime(milliseconds: 1000))
                ])
        }
        func removeNode(_ target: String, force: Bool) async throws -> RemovedNodeReport {
            guard force else { throw ControlError(.conflict, "the cluster would lose its quorum without \(target)") }
            return RemovedNodeReport(
                id: 22, address: "192.0.2.2:8800", nodeID: nil, name: target, reason: "removed",
                at: WallTime(milliseconds: 0))
        }
        func backup() async throws -> BackupDocument {
            BackupDocument(
                createdAt: WallTime(milliseconds: 0), createdBy: "0.1.0", cluster: .init(name: "c", id: "u"),
                configuration: .init(addresses: addresses.withLock { $0 }), nodes: [])
        }
        func restore(_ configuration: BackupDocument.Configuration) async throws {
            try await setVirtualAddresses(configuration.addresses, ifOneOf: nil)
        }
        func databaseFile() async throws -> [UInt8] { [1, 2, 3] }
        func health() async -> HealthReport { HealthReport(isAlive: true) }
        func readiness() async -> ReadinessReport { readiness.withLock { $0 } }
    }

    /// The program beside the test bundle.
    private static func program() throws -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = try retryingOnInterrupt("read", "/proc/self/exe") {
            readlink("/proc/self/exe", &buffer, buffer.count)
        }
        let own = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let path = own[..<(own.lastIndex(of: "/") ?? own.startIndex)] + "/dqlite-vip"
        guard access(String(path), X_OK) == 0 else {
            throw SystemError.last("run", String(path), remedy: "build it first: swift build --product dqlite-vip")
        }
        return String(path)
    }

    /// Runs `dqlite-vip` with the rest of a shell line; both outputs, and the exit status in the last line.
    private static func run(_ line: String) async throws -> String {
        let program = try program()
        return try await BlockingThread.run(named: "test shell") {
            let script = "unset DQLITE_VIP_API; dqlite_vip() { '\(program)' \"$@\"; }; exec 2>&1; \(line); echo \"=$?\""
            guard let pipe = popen(script, "r") else { throw SystemError.last("run", "/bin/sh") }
            var output: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { output += buffer.prefix(count) }
            pclose(pipe)
            return String(decoding: output, as: UTF8.self)
        }
    }

    private static func check(
        _ arguments: String, _ expected: String, at location: SourceLocation = #_sourceLocation
    ) async throws {
        let output = try await run("dqlite_vip \(arguments)")
        #expect(output == expected, sourceLocation: location)
    }

    private func serve(_ control: Control, _ body: @Sendable (HostPort) async throws -> Void) async throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let (addresses, listening) = AsyncStream.makeStream(of: HostPort.self)
        let server = APIServer(bind: HostPort(host: "127.0.0.1", port: 0), control: control, logger: quiet) {
            listening.yield($0)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            var iterator = addresses.makeAsyncIterator()
            let address = try #require(await iterator.next())
            try await body(address)
            group.cancelAll()
        }
    }

    @Test("the virtual address is got, set, refused and cleared")
    func vip() async throws {
        let control = Control()
        try await serve(control) { address in
            let api = "--api \(address)"
            try await Self.check("vip get \(api)", "no virtual address is set\n=0\n")
            try await Self.check("vip get --json \(api)", "{\"addresses\":[],\"vip\":\"\"}\n=0\n")
            try await Self.check("vip set 192.0.2.10/24 \(api)", "the virtual address is 192.0.2.10/24\n=0\n")
            try await Self.check("vip get \(api)", "192.0.2.10/24\n=0\n")
            try await Self.check(
                "vip set 192.0.2.10/24 2001:db8::10/64 \(api)",
                "the virtual addresses are 192.0.2.10/24, 2001:db8::10/64\n=0\n")
            try await Self.check("vip get \(api)", "192.0.2.10/24\n2001:db8::10/64\n=0\n")
            try await Self.check(
                "vip get --json \(api)",
                "{\"addresses\":[\"192.0.2.10/24\",\"2001:db8::10/64\"],\"vip\":\"192.0.2.10/24\"}\n=0\n")
            try await Self.check("vip set 192.0.2.10/24 \(api)", "the virtual address is 192.0.2.10/24\n=0\n")
            try await Self.check("vip set 1.2.3.4 \(api)", "dqlite-vip: \"1.2.3.4\" has no prefix length\n=1\n")
            let get = try await Self.run("DQLITE_VIP_API=\(address) dqlite_vip vip get")
            #expect(get == "192.0.2.10/24\n=0\n")
            try await Self.check("vip clear --json \(api)", "{\"message\":\"OK\"}\n=0\n")
            let left = control.addresses.withLock { $0 }
            #expect(left.isEmpty)
        }
    }

    @Test("a failover tells who leads now, or why not")
    func failover() async throws {
        try await serve(Control()) { address in
            let api = "--api \(address)"
            try await Self.check("failover \(api)", "192.0.2.2:8800 leads now, after 9 ms\n=0\n")
            try await Self.check("failover --to three \(api)", "three leads now, after 9 ms\n=0\n")
            try await Self.check("failover --to here \(api)", "dqlite-vip: here leads already\n=1\n")
            try await Self.check(
                "failover --json \(api)",
                #"{"leader_address":"192.0.2.2:8800","leader_id":2,"message":"OK","seamless":true,"took_ms":9}"#
                    + "\n=0\n")
        }
    }

    @Test("what the API says is shown and not done, on either output, and as JSON; what cannot be written is a failure")
    func foreignText() async throws {
        let control = Control()
        let nasty = "\u{1B}]0;owned\u{7}\u{9B}31m\nforged/24\u{202E}"
        let shown = #"\u{1b}]0;owned\u{7}\u{9b}31m\nforged/24\u{202e}"#
        control.addresses.withLock { $0 = [nasty, "192.0.2.10/24"] }
        control.readiness.withLock { $0 = ReadinessReport(isReady: false, reasons: [nasty]) }
        try await serve(control) { address in
            let api = "--api \(address)"
            try await Self.check("vip get \(api)", "\(shown)\n192.0.2.10/24\n=0\n")
            let json = try await Self.run("dqlite_vip vip get --json \(api)")
            let written = #""\u001b]0;owned\u0007\u009b31m\nforged/24\u202e""#
            #expect(json == "{\"addresses\":[\(written),\"192.0.2.10/24\"],\"vip\":\(written)}\n=0\n")
            let status = try await Self.run("dqlite_vip status \(api)")
            #expect(status.contains("virtual IP  \(shown), ") && status.contains("\nnot ready: \(shown)\n=3\n"))
            let refusal = try await Self.run("dqlite_vip node remove \"$(printf 'a\\033[31m')\" \(api)")
            #expect(
                refusal == "dqlite-vip: the cluster would lose its quorum without a\\u{1b}[31m\n=1\n")
            for command in ["vip get", "vip get --json", "status", "node list", "backup"] {
                let full = try await Self.run("dqlite_vip \(command) \(api) >/dev/full")
                #expect(
                    full.hasPrefix("dqlite-vip: cannot write to standard output: No space left on device\n")
                        && full.hasSuffix("=1\n"), "\(command): \(full)")
            }
        }
    }

    @Test("the nodes are listed, and one is removed, or it is said why not")
    func nodes() async throws {
        try await serve(Control()) { address in
            let api = "--api \(address)"
            try await Self.check(
                "node list \(api)",
                """
                ID  NAME  ADDRESS         ROLE
                1   one   192.0.2.1:8800  voter  leader, this node, in rack-1
                22  -     192.0.2.2:8800  spare  non-voter, unreachable since 1970-01-01T00:00:00.000Z

                no failure is survived

                no members any more:
                3  -  192.0.2.3:8800  left 1970-01-01T00:00:01.000Z
                =0

                """)
            try await Self.check(
                "node remove two \(api)", "dqlite-vip: the cluster would lose its quorum without two\n=1\n")
            try await Self.check(
                "node remove two --force \(api)", "two (192.0.2.2:8800), id 22, is no member any more\n=0\n")
            #expect(try await Self.run("dqlite_vip node remove '' \(api)").hasSuffix("=64\n"))
        }
    }

    @Test("the status is a table or the daemon's JSON, and 3 tells of a node that is not ready")
    func status() async throws {
        let control = Control()
        try await serve(control) { address in
            let table = try await Self.run("dqlite_vip status --api \(address)")
            #expect(table.hasPrefix("cluster     c: formed\n") && table.hasSuffix("leader, this node\n=0\n"))
            control.readiness.withLock { $0 = ReadinessReport(isReady: false, reasons: ["no quorum", "x"]) }
            let json = try await Self.run("dqlite_vip status --json --api http://\(address)/ 2>/dev/null | jq -c .id")
            #expect(json == "1\n=0\n")
            let late = try await Self.run("dqlite_vip status --json --api \(address) >/dev/null")
            #expect(late == "not ready: no quorum\nnot ready: x\n=3\n")
        }
    }

    @Test("an API that cannot be reached is 69, a usage error 64, a bad setting 78, help and version 0")
    func exitStatuses() async throws {
        let refused = try await Self.run("dqlite_vip status --api 127.0.0.1:1")
        #expect(
            refused.hasPrefix(
                "dqlite-vip: cannot reach the API of dqlite-vip at http://127.0.0.1:1: connection refused"))
        #expect(refused.hasSuffix("\n=69\n"))
        #expect(try await Self.run("dqlite_vip vip get --api x:y").hasSuffix("=64\n"))
        #expect(try await Self.run("dqlite_vip vip set").hasSuffix("=64\n"))
        #expect(try await Self.run("dqlite_vip vip set ''").hasSuffix("=64\n"))
        #expect(try await Self.run("dqlite_vip frobnicate").hasSuffix("=64\n"))
        let bad = try await Self.run("dqlite_vip start --voters 4 -i eth0")
        #expect(bad.hasPrefix("dqlite-vip: the configuration has 2 faults:\n  --data-dir is missing"))
        #expect(bad.hasSuffix("=78\n"))
        #expect(try await Self.run("dqlite_vip --version") == "dqlite-vip \(Version.product)\n=0\n")
        #expect(try await Self.run("dqlite_vip version --json | jq -r .version") == "\(Version.product)\n=0\n")
        #expect(try await Self.run("dqlite_vip").hasSuffix("=0\n"))
        #expect(try await Self.run("dqlite_vip start --help").hasSuffix("=0\n"))
    }

    @Test("a proxy of the environment is not asked for the API")
    func proxy() async throws {
        try await serve(Control()) { address in
            let output = try await Self.run("http_proxy=http://127.0.0.1:1 dqlite_vip vip get --api \(address)")
            #expect(output == "no virtual address is set\n=0\n")
        }
    }
}
