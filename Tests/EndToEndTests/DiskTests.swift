import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Full disks")
    struct DiskTests {
        private func withSmallDisks(
            nodes count: Int, _ body: (LabCluster, [SmallDisk], LabCluster.Formation) async throws -> Void
        ) async throws {
            try await withLab(nodes: count) { lab in
                let disks = try lab.nodes.map { try SmallDisk(directory: $0.dataDirectory) }
                try lab.startAll(.identical(expect: count))
                let formation = try await lab.formation()
                try await lab.setVIP()
                try await body(lab, disks, formation)
            }
        }

        @Test("a leader whose disk is about to be full hands over, says so, and is given no lead until there is room")
        func leaderHandsOver() async throws {
            try await withSmallDisks(nodes: 3) { lab, disks, before in
                let old = before.leader
                #expect(try await lab.settled(for: .milliseconds(300)) == old)
                let start = BootClock.now
                try disks[old - 1].fill(leaving: 14)
                let new = try await lab.holder(otherThan: old, within: .seconds(10))
                let timeline = lab.witness.timeline
                #expect(timeline.overlap(of: lab.vip, from: start, to: BootClock.now) <= .milliseconds(150))
                let status = try await lab[old].status()
                #expect(
                    status.warnings.contains { $0.contains("data has") && $0.contains("MiB left: free") },
                    "\(status.warnings)")
                #expect(try await lab[old].request("GET", "/metrics").text.contains("dqlite_vip_data_free_bytes 1"))
                let refused = try await lab[new].request("POST", "/v1/failover", body: #"{"to":"10.42.0.\#(old)"}"#)
                #expect(refused.status == 409 && refused.message.contains("MiB left"), "\(refused.message)")

                try disks[old - 1].free()
                try await eventually("room again", within: .seconds(5)) {
                    try await lab[old].status().warnings.isEmpty
                }
                let back = try await lab[new].request("POST", "/v1/failover", body: #"{"to":"10.42.0.\#(old)"}"#)
                #expect(back.status == 200, "\(back.message)")
                #expect(try await lab.holder(otherThan: new) == old)
            }
        }

        @Test(
            "a full disk that nobody can relieve: changes are refused with the reason, the address stays, room ends it")
        func aloneAndFull() async throws {
            try await withSmallDisks(nodes: 1) { lab, disks, _ in
                try disks[0].fill()
                try await eventually("warning", within: .seconds(5)) {
                    try await !lab[1].status().warnings.isEmpty
                }
                let start = BootClock.now
                for number in 111...140 {
                    let answer = try await lab[1].setVIP("10.42.0.\(number)/24")
                    #expect(answer.status == 503)
                    #expect(answer.message.contains("MiB left: free"), "\(answer.message)")
                }
                #expect(try await lab[1].vip() == lab.vipText)
                #expect(lab.witness.holders(of: lab.vip) == [1])
                try disks[0].free()
                try await eventually("change", within: .seconds(5)) {
                    try await lab[1].setVIP("10.42.0.111/24").status == 202
                }
                #expect(start.duration(to: BootClock.now) < .seconds(15))
            }
        }

        @Test(
            "a leader whose disk becomes read-only hands over and says so, goes on, and leads again when it can write")
        func readOnly() async throws {
            try await withCluster { lab, before in
                let old = lab[before.leader]
                #expect(try await lab.settled(for: .milliseconds(300)) == old.number)
                let daemon = try #require(old.daemonPID)
                let start = BootClock.now
                try SmallDisk.setReadOnly(true, of: old)
                let new = try await lab.holder(otherThan: old.number, within: .seconds(10))
                let time = start.duration(to: BootClock.now)
                print("handed over \(time.inMilliseconds) ms after the disk became read-only")
                #expect(time <= .seconds(3))
                #expect(lab.witness.timeline.overlap(of: lab.vip, from: start, to: BootClock.now) <= .milliseconds(150))
                let status = try await old.status()
                #expect(status.warnings.contains { $0.contains("is mounted read-only") }, "\(status.warnings)")
                #expect(old.logText.contains("is mounted read-only"))
                let refused = try await lab[new].request("POST", "/v1/failover", body: #"{"to":"\#(old.address)"}"#)
                #expect(refused.status == 409 && refused.message.contains("read-only"), "\(refused.message)")
                // The others go on writing.
                for number in 111...130 { #expect(try await lab[new].setVIP("10.42.0.\(number)/24").status == 202) }
                _ = try await lab[new].setVIP(lab.vipText)
                #expect(old.daemonPID == daemon, "\(old.logTail())")

                try SmallDisk.setReadOnly(false, of: old)
                // libraft may have given up, since it could not write the new term: then the guard starts the daemon again.
                try await eventually("leader heard without a warning", within: .seconds(15)) {
                    let status = try await old.status()
                    return status.warnings.isEmpty && status.leaderID != 0
                }
                // One that has only just been started does not vote yet, and another may be elected in its place.
                try await eventually("lead of the node that can write again", within: .seconds(15), every: .seconds(1))
                {
                    if lab.witness.holders(of: lab.vip) == [old.number] { return true }
                    _ = try await lab[new].request("POST", "/v1/failover", body: #"{"to":"\#(old.address)"}"#)
                    return false
                }
                #expect(try await old.vip() == lab.vipText)
            }
        }

        @Test(
            "a disk that is full or read-only at the start is named with its remedy, and the node comes back when it is not"
        )
        func atTheStart() async throws {
            try await withSmallDisks(nodes: 1) { lab, disks, before in
                let node = lab[1]
                try await node.terminate()
                try disks[0].remount(readOnly: true)
                let failed = try node.startAgain()
                #expect(!(try await failed.exit(within: .seconds(15)).isSuccess))
                #expect(node.logText.contains("Read-only file system"), "\(node.logTail())")
                try disks[0].remount(readOnly: false)

                try disks[0].fill()
                try node.startAgain()
                try await eventually("message", within: .seconds(15)) {
                    node.logText.contains("No space left on device") || node.logText.contains("the file system")
                }
                try await node.kill9()
                try disks[0].free()
                try node.startAgain()
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                try await lab.held(by: 1)
            }
        }
    }
}
