import Glibc
import Lab
import Platform
import Synchronization
import Testing

extension EndToEnd {
    @Suite("Restarts and disks")
    struct RestartTests {
        @Test("all nodes killed at once and started again are the same cluster, and the VIP is back")
        func allKilled() async throws {
            try await withCluster { lab, before in
                for node in lab.nodes { try lab.inject(.kill9, onNode: node.number) }
                for node in lab.nodes { try await node.kill9() }
                for node in lab.nodes { try node.startAgain() }
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                #expect(after.members == before.members)
                try await lab.held(by: after.leader)
                for node in lab.nodes { #expect(try await node.vip() == lab.vipText) }
            }
        }

        @Test("a node killed and started again at once gets its ports, which the dying one still has for a moment")
        func restartedAtOnce() async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                try node.start(StartOptions())
                var before = try await lab.formation()
                for round in 1...8 {
                    // With a write under way the kernel takes longest to end the daemon.
                    async let write = node.setVIP(lab.vipText)
                    node.signalAll(SIGKILL)
                    _ = try? await write
                    try await node.process?.exit(within: .seconds(5))
                    try node.startAgain()
                    let after = try await lab.formation(within: .seconds(20))
                    #expect(after.clusterID == before.clusterID, "round \(round)")
                    #expect(node.guardPID != nil && node.daemonPID != nil)
                    before = after
                }
                #expect(!node.logText.contains("in use"), "\(node.logTail())")
                #expect(!node.logText.contains("was never up"), "\(node.logTail())")
            }
        }

        @Test(
            "a port that is taken at the start and free a moment later delays the node, and no more",
            arguments: [8800, 9900])
        func portFreedLater(port: UInt16) async throws {
            try await withLab(nodes: 1) { lab in
                let holder = try TakenPort(port, in: lab[1].namespace)
                try lab[1].start(StartOptions())
                try await eventually("daemon", within: .seconds(5)) { lab[1].daemonPID != nil }
                try await Task.sleep(for: .milliseconds(500))
                #expect(lab[1].daemonPID != nil, "\(lab[1].logTail())")
                holder.close()
                _ = try await lab.formation()
                #expect(!lab[1].logText.contains(" critical "))
            }
        }

        @Test("a member that lost its data comes back as a new one, and its dead entry is replaced")
        func wiped() async throws {
            try await withCluster { lab, before in
                let victim = before.leader % 3 + 1
                let old = try #require(before.member(lab[victim]))
                try lab.inject(.kill9, onNode: victim)
                try await lab[victim].kill9()
                lab[victim].wipe()
                try lab[victim].startAgain()
                let after = try await lab.formation(within: .seconds(30))
                #expect(after.clusterID == before.clusterID)
                #expect(after.addresses == before.addresses)
                let new = try #require(after.member(lab[victim]))
                #expect(new.id != old.id)
                #expect(new.role == "voter")
                #expect(after.statuses[victim]?.nodeID != before.statuses[victim]?.nodeID)
                #expect(try await lab[victim].vip() == lab.vipText)
            }
        }

        @Test("the leader that lost its data founds nothing new: it joins what the others went on with")
        func wipedLeader() async throws {
            try await withCluster { lab, before in
                let victim = before.leader
                let start = try lab.inject(.kill9, onNode: victim)
                try await lab[victim].kill9()
                lab[victim].wipe()
                try lab[victim].startAgain()
                let after = try await lab.formation(within: .seconds(30))
                #expect(after.clusterID == before.clusterID)
                #expect(after.member(lab[victim])?.id != before.member(lab[victim])?.id)
                // The kernel of the one that was killed may serve the VIP for a second yet, and another waits for that.
                try await eventually("one holder", within: .seconds(10)) {
                    lab.witness.holders(of: lab.vip).count == 1
                }
                let overlap = lab.witness.timeline.overlap(of: lab.vip, from: start, to: BootClock.now)
                #expect(overlap <= .milliseconds(1))
            }
        }

        @Test("two processes on one data directory: the second is refused, the first is not disturbed")
        func lockedDirectory() async throws {
            try await withLab(nodes: 1) { lab in
                try lab.startAll(StartOptions())
                let before = try await lab.formation()
                let second = try await lab[1].command([
                    "start", "--data-dir", "data", "--iface", "eth0", "--bind-cluster", "10.42.0.1:8801", "--bind-http",
                    "127.0.0.1:9901",
                ])
                #expect(!second.isSuccess)
                #expect(second.text.contains("data"), "\(second.text)")
                let after = try await lab[1].status()
                #expect(after.term == before.statuses[1]?.term)
            }
        }
    }
}

/// A TCP port of a node that somebody else has, on all addresses.
private final class TakenPort: Sendable {
    private let descriptor: Mutex<Int32>

    init(_ port: UInt16, in namespace: Namespace) throws {
        descriptor = Mutex(
            try namespace.perform {
                let descriptor = try retryingOnInterrupt("open a TCP socket") {
                    socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
                }
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = port.bigEndian
                try retryingOnInterrupt("bind TCP port", "\(port)") {
                    withUnsafePointer(to: &address) { pointer in
                        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                        }
                    }
                }
                try retryingOnInterrupt("listen on TCP port", "\(port)") { listen(descriptor, 1) }
                return descriptor
            })
    }

    func close() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }
    }

    deinit { close() }
}
