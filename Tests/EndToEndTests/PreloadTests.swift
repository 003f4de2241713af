import Platform
import Testing

@testable import Lab

/// The libraries that make disks slow and clocks wrong: if they did nothing, all would be well with them.
@Suite("Preloaded libraries")
struct PreloadTests {
    @Test("a time is taken in milliseconds, and what is none is an error")
    func delay() throws {
        #expect(try SlowDisk.delay(nil) == nil)
        #expect(try SlowDisk.delay("") == nil)
        #expect(try SlowDisk.delay("0ms") == nil)
        #expect(try SlowDisk.delay("20ms") == .milliseconds(20))
        for wrong in ["20", "ms", "-1ms", "1s", "20 ms", "10001ms"] {
            #expect(throws: LabError.self, "\(wrong)") { try SlowDisk.delay(wrong) }
        }
    }

    @Test("the libraries of two environments are both loaded")
    func merge() {
        let merged = PreloadLibrary.merge(
            ["LD_PRELOAD": "a.so", "A": "1"], ["LD_PRELOAD": "b.so", "A": "2", "B": "3"])
        #expect(merged == ["LD_PRELOAD": "a.so:b.so", "A": "2", "B": "3"])
        #expect(PreloadLibrary.merge([:], ["LD_PRELOAD": "b.so"]) == ["LD_PRELOAD": "b.so"])
        #expect(PreloadLibrary.merge(["A": "1"], [:]) == ["A": "1"])
    }

    @Test("a clock never steps when its rate changes, runs faster and slower, and is continued before the change")
    func course() {
        let right = SlewedClock.Course(real: 1000, own: 1000, before: 0, after: 0)
        let fast = right.changed(at: 2_000_000_000, to: 83_000)
        #expect(fast.reading(at: 2_000_000_000) == 2_000_000_000)
        #expect(fast.reading(at: 3_000_000_000) == 3_083_000_000)
        #expect(fast.reading(at: 1_000_000_000) == 1_000_000_000)
        let slow = fast.changed(at: 3_000_000_000, to: -83_000)
        #expect(slow.reading(at: 3_000_000_000) == 3_083_000_000)
        #expect(slow.reading(at: 4_000_000_000) == 4_000_000_000)
        #expect(slow.reading(at: 2_500_000_000) == fast.reading(at: 2_500_000_000))
        // After a century it has not overflowed.
        let late = right.changed(at: 3_000_000_000_000_000_000, to: 83_000)
        #expect(late.reading(at: 3_000_000_001_000_000_000) == 3_000_000_001_083_000_000)
    }
}

extension EndToEnd {
    @Suite("Preloaded libraries at work")
    struct PreloadedTests {
        /// How long a command took.
        private func time(_ arguments: [String], _ environment: [String: String], in directory: String) throws
            -> Duration
        {
            let start = BootClock.now
            let result = try ToolCommand.run(arguments, directory: directory, environment: environment)
            #expect(result.isSuccess, "\(result.text)")
            return start.duration(to: BootClock.now)
        }

        @Test("a write that is waited for takes as much longer as was asked for, and one that is not takes no longer")
        func slowDisk() throws {
            let network = try Network(servers: 1)
            defer { network.close() }
            let disk = try SlowDisk(delay: .milliseconds(700), directory: network.directory)
            let write = ["dd", "if=/dev/zero", "of=written", "bs=512", "count=1", "status=none"]
            let waited = try time(write + ["conv=fsync"], disk.environment, in: network.directory)
            #expect(waited >= .milliseconds(700))
            #expect(try time(write, disk.environment, in: network.directory) < .milliseconds(700))
        }

        @Test("on a slow disk libraft's own writes are slow, too: an acknowledged change waits for its disk")
        func slowLog() async throws {
            let network = try Network(servers: 1)
            defer { network.close() }
            let disk = try SlowDisk(delay: .milliseconds(100), directory: network.directory)
            try await withLab(nodes: 1) { lab in
                var options = StartOptions.identical(expect: 1)
                options.further = ["--timing", "wan"]
                try lab[1].start(options, environment: disk.environment)
                _ = try await lab.formation(within: .seconds(60))
                let start = BootClock.now
                #expect(try await lab[1].setVIP(lab.vipText).status == 202)
                let took = start.duration(to: BootClock.now)
                #expect(took >= .milliseconds(100), "\(took)")
            }
        }

        @Test(
            "what waits by a clock that runs 8.3 % fast or slow wakes up so much sooner or later",
            arguments: [83_000, -83_000])
        func slewedClock(rate: Int64) async throws {
            let network = try Network(servers: 1)
            defer { network.close() }
            let clock = try SlewedClock(directory: network.directory)
            let right = try time(["sleep", "1"], clock.environment, in: network.directory)
            try clock.set(rate: rate)
            try await Task.sleep(for: .milliseconds(50))
            let slewed = try time(["sleep", "1"], clock.environment, in: network.directory)
            let difference = right - slewed
            #expect(right >= .seconds(1))
            #expect(
                rate > 0 ? difference > .milliseconds(40) : difference < .milliseconds(-40), "\(right), \(slewed)")
        }
    }
}
