import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("A database that does not answer")
    struct SilenceTests {
        @Test(
            "its thread stands still: another takes over, healthz says so, and the daemon ends itself and is started again"
        )
        func frozenThread() async throws {
            try await withCluster { lab, before in
                let old = before.leader
                let daemon = try #require(lab[old].daemonPID)
                let start = BootClock.now
                // As in a statement that SQLite cannot interrupt, or on a disk that hangs: libdqlite has this one thread.
                let debugger = try await Debugger(daemon, threads: "dqlite-node")
                defer { debugger.detach() }
                let new = try await lab.holder(otherThan: old)
                #expect(start.duration(to: BootClock.now) < .seconds(1))
                #expect(lab.witness.timeline.overlap(of: lab.vip, from: start, to: BootClock.now) <= .milliseconds(1))

                try await eventually("healthz that tells of it", within: .seconds(3), every: .milliseconds(50)) {
                    let answer = try? await lab[old].request("GET", "/healthz")
                    return answer?.status == 503 && answer?.text.contains("has not answered for") == true
                }
                let asked = start.duration(to: BootClock.now)
                // It counts from the last question that was answered, at most a quarter of a second before.
                #expect(asked > .milliseconds(1200), "not for every pause: \(asked)")
                #expect(lab[old].daemonPID == daemon, "it is said before the daemon ends")

                try await eventually("the end of the daemon", within: .seconds(8), every: .milliseconds(10)) {
                    lab[old].logText.contains("the database of this node does not answer any more")
                }
                // The kernel tells nobody of the end of a process while a thread of it is traced.
                debugger.detach()
                try await eventually("another daemon", within: .seconds(8)) {
                    lab[old].daemonPID.map { $0 != daemon } ?? false
                }
                let ended = start.duration(to: BootClock.now)
                print("healthz after", asked.inWords, "ms, another daemon after", ended.inWords, "ms")
                #expect(ended > .seconds(3))
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.leader == new && after.members.count == 3)
            }
        }
    }
}
