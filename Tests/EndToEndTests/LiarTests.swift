import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    /// A host of the LAN answers each probe for the address.
    @Suite("Somebody on the LAN lies about the address")
    struct LiarTests {
        /// Waits until all members know each other's MACs: they are told with the roll call, and spread with the next one; and until nobody
        /// remembers that they were not known (`MACBook`).
        private func acquainted(_ lab: LabCluster) async throws -> Int {
            try await lab.settled(for: .milliseconds(5500))
        }

        @Test("under a new MAC each time: a fail-over takes as long as without, and the liar is reported once")
        func changingMACs() async throws {
            try await withCluster { lab, _ in
                let old = try await acquainted(lab)
                let liar = try lab.startLiar()
                defer { liar.stop() }
                let report = try await lab.measure(.kill9Daemon, settle: .milliseconds(300), observe: .seconds(1))
                let gained = try #require(report.newGained, "nobody took the VIP over")
                print("a liar answered", liar.answers, "probes: taken after", gained, "; outage", report.view.outage)
                #expect(report.oldHolder == old && liar.answers > 0)
                #expect(gained < .milliseconds(300))
                #expect(report.overlap <= .milliseconds(1))
                let new = try #require(report.newHolder)
                #expect(lab.witness.holders(of: lab.vip) == [new])
                let lines = lab[new].logText.split(separator: "\n")
                #expect(lines.count { $0.contains("another host of the network has the address too") } == 1)
                #expect(!lines.contains { $0.contains("Another host still answers") })
            }
        }

        @Test("announced every 2 ms under a new MAC each time: one line in six seconds, and a fail-over as without")
        func storm() async throws {
            try await withCluster { lab, _ in
                let old = try await acquainted(lab)
                func conflicts(_ node: Int) -> [Substring] {
                    lab[node].logText.split(separator: "\n").filter { $0.contains("onflict") }
                }
                let storm = try lab.startStorm(every: .milliseconds(2))
                defer { storm.stop() }
                try await eventually("the report of the conflict", within: .seconds(5)) { !conflicts(old).isEmpty }
                // So long the storm of the review made 85 lines.
                try await Task.sleep(for: .seconds(6))
                #expect(conflicts(old).count == 1, "\(conflicts(old))")
                #expect(lab.witness.holders(of: lab.vip) == [old])
                let status = try await lab[old].request("GET", "/status").text
                #expect(status.contains("more than 64 different MACs so far"))

                let time = try lab.inject(.kill9Daemon, onNode: old)
                let new = try await lab.holder(otherThan: old)
                let gained = try #require(lab.witness.timeline.gain(of: lab.vip, by: new, after: time))
                print("in a storm of 500 claims a second: taken after", time.duration(to: gained))
                #expect(time.duration(to: gained) < .milliseconds(300))
                #expect(lab.witness.timeline.overlap(of: lab.vip, from: time, to: BootClock.now) <= .milliseconds(1))
                try await eventually("the new holder's report", within: .seconds(5)) { !conflicts(new).isEmpty }
                #expect(conflicts(new).count == 1, "\(conflicts(new))")
            }
        }

        @Test(
            "daemon and guard dead together: the old kernel is waited for beside the liar, and no two ever have the VIP"
        )
        func oldKernel() async throws {
            try await withCluster { lab, _ in
                let old = try await acquainted(lab)
                let liar = try lab.startLiar()
                defer { liar.stop() }
                let report = try await lab.measure(.kill9, settle: .milliseconds(300), observe: .seconds(1))
                let lost = try #require(report.oldLost, "node \(report.oldHolder) kept the address")
                let gained = try #require(report.newGained, "nobody took the VIP over")
                print(
                    "a liar answered", liar.answers, "probes: the old kernel let go after", lost, "taken after", gained)
                #expect(report.oldHolder == old && liar.answers > 0)
                // The kernel alone had it, and answered.
                #expect(lost > .milliseconds(500) && gained >= lost)
                #expect(gained < lost + .milliseconds(300))
                #expect(report.overlap <= .milliseconds(1))
                #expect(lab.witness.holders(of: lab.vip) == [try #require(report.newHolder)])
            }
        }

        @Test("under the MAC of a member: two seconds, and not more")
        func spoofed() async throws {
            try await withCluster { lab, _ in
                let old = try await acquainted(lab)
                let liar = try lab.startLiar(as: [try lab.network.hardwareAddress(ofNode: old)])
                defer { liar.stop() }
                let report = try await lab.measure(
                    .kill9Daemon, settle: .milliseconds(300), observe: .milliseconds(300))
                let gained = try #require(report.newGained, "nobody took the VIP over")
                print("a liar who says to be the last holder: taken after", gained)
                #expect(gained >= .seconds(2) && gained < .milliseconds(2500))
                #expect(report.overlap <= .milliseconds(1))
            }
        }

        @Test(
            "in another VLAN, for which the nodes have an interface: nothing is heard of it",
            .enabled(if: Kernel.hasVLANs, "this kernel has no 8021q: no node can have an interface for a VLAN here"))
        func otherVLAN() async throws {
            try await withLab(nodes: 3) { lab in
                let services = try lab.network.services()
                for namespace in lab.network.servers + [services] {
                    for command in [
                        ["link", "add", "link", Network.interface, "name", "eth0.5", "type", "vlan", "id", "5"],
                        ["link", "set", "eth0.5", "up"],
                    ] { try ToolCommand.check(["ip", "-n", namespace.name] + command) }
                }
                try lab.startAll(.identical(expect: 3))
                _ = try await lab.formation()
                try await lab.setVIP()
                _ = try await acquainted(lab)
                // In VLAN 5 the address is somebody's, who says so fifty times a second.
                try ToolCommand.check([
                    "ip", "-n", services.name, "address", "add", lab.vipText, "dev", "eth0.5",
                ])
                let claims = Task {
                    while !Task.isCancelled {
                        try lab.network.announce(lab.vip, from: services, interface: "eth0.5")
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
                let report = try await lab.measure(.kill9Daemon, observe: .seconds(1))
                claims.cancel()
                #expect(try #require(report.newGained) < .milliseconds(300))
                for node in lab.nodes {
                    #expect(!node.logText.contains("another host of the network has the address too"))
                    #expect(!node.logText.contains("Another host still answers"))
                }
            }
        }
    }
}

/// What the kernel under the laboratory has.
private enum Kernel {
    /// Devices for VLANs (8021q): tried once, in a namespace that goes again.
    static let hasVLANs: Bool = {
        let script = "ip link add t0 type veth peer name t1 && ip link add link t0 name t0.5 type vlan id 5"
        return (try? ToolCommand.check(["unshare", "--net", "sh", "-c", script])) != nil
    }()
}
