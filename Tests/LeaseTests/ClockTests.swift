import FoundationEssentials
import Testing

@Suite("The one clock")
struct ClockTests {
    /// What is told to people only: when a member was removed, or seen last, and the name of a directory.
    private static let tellsTimes: Set = [
        "Configuration/ConfigurationStore+Members.swift",
        "Configuration/ConfigurationSoundness.swift", "Membership/Roster.swift", "Node/ClusterNode+Roles.swift",
        "Node/ClusterNode+Status.swift", "Store/Recovery.swift",
    ]

    /// Whoever sets the clock of a host, slews it, or suspends the host, must not move a lease.
    @Test("lease, cluster and address are decided on BootClock alone", arguments: ["Lease", "Cluster", "VIP"])
    func bootTime(module: String) throws {
        // Timers of the kernel run on clocks that are slewed: `BootTimer`.
        let others = [
            "Date(", "Date.now", "WallTime", "CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME", "clock_gettime(",
            "timerfd_", "ContinuousClock", "SuspendingClock", "clock: .continuous", "clock: .suspending",
            "gettimeofday(", "time(nil)", "DispatchTime", "NIODeadline.now",
        ]
        // Tests/LeaseTests/ClockTests.swift
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let sources = root.appending(path: "Sources/\(module)").path
        var files = 0
        for path in try FileManager.default.subpathsOfDirectory(atPath: sources) where path.hasSuffix(".swift") {
            let text = try String(contentsOfFile: "\(sources)/\(path)", encoding: .utf8)
            for clock in others where text.contains(clock) {
                if clock == "WallTime", Self.tellsTimes.contains(path) { continue }
                Issue.record("\(module)/\(path) speaks of \(clock): what it decides must not depend on another clock")
            }
            files += 1
        }
        #expect(files > 0)
    }
}
