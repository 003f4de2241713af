import Lease
import Platform
import Testing

@testable import Cluster

@Suite("Timing")
struct TimingTests {
    private func reasons(_ text: String) -> [String] {
        do throws(TimingFaults) {
            _ = try Timing(parsing: text)
            return []
        } catch {
            return error.reasons
        }
    }

    @Test("every profile keeps the rules, and is read back from its name and from its values")
    func profiles() throws {
        #expect(Timing.profiles.map(\.name) == ["fast", "lan", "wan"])
        for (name, timing) in Timing.profiles {
            #expect(timing.faults.isEmpty)
            #expect(try Timing(parsing: name) == timing)
            #expect(try Timing(parsing: name.uppercased()) == timing)
            #expect(try Timing(parsing: timing.description) == timing && timing.profile == name)
        }
        #expect(Timing.lan.description == "latency=30ms,lease=180ms,silence=150ms")
        #expect(Timing.lan.heartbeat == .milliseconds(45) && Timing.lan.electionTimeout == .milliseconds(450))
    }

    @Test("what is not given follows from the latency, rounded up to whole milliseconds, in any order and unit")
    func derived() throws {
        let derived = try Timing(parsing: "latency=21ms")
        #expect(derived.hold == .milliseconds(158) && derived.silence == .milliseconds(126))
        #expect(derived.profile == nil)
        let written = try Timing(parsing: "silence=1s,Latency=200ms")
        #expect(written == Timing(latency: .milliseconds(200), silence: .seconds(1)))
    }

    @Test(
        "values that do not go together are refused, each with itself and the rule",
        arguments: [
            ("latency=4ms", ["latency 4ms is not from 5ms to 1000ms"]),
            ("latency=2s", ["latency 2000ms is not from 5ms to 1000ms"]),
            ("latency=0ms,lease=0ms", ["latency 0ms is not from 5ms to 1000ms"]),
            (
                "latency=20ms,lease=80ms,silence=70ms",
                [
                    "lease 80ms is shorter than three heartbeats (90ms with latency 20ms): one that is lost would end it"
                ]
            ),
            (
                "latency=20ms,lease=301ms",
                [
                    "lease 301ms is longer than the election timeout (300ms with latency 20ms): nobody could be elected before "
                        + "it is over"
                ]
            ),
            ("latency=5ms,lease=39ms,silence=39ms", ["lease 39ms is shorter than 40ms"]),
            (
                "latency=25ms,silence=74ms",
                [
                    "silence 74ms is shorter than two heartbeats (75ms with latency 25ms): one that is late would depose the "
                        + "leader"
                ]
            ),
            (
                "latency=20ms,lease=100ms,silence=101ms",
                ["silence 101ms is longer than the lease (100ms): nobody would stand for election when it ends"]
            ),
            (
                "latency=21ms,lease=400ms,silence=10ms",
                [
                    "lease 400ms is longer than the election timeout (315ms with latency 21ms): nobody could be elected before "
                        + "it is over",
                    "silence 10ms is shorter than two heartbeats (63ms with latency 21ms): one that is late would depose the "
                        + "leader",
                ]
            ),
        ])
    func rules(text: String, expected: [String]) {
        #expect(reasons(text) == expected)
    }

    @Test("at the very bounds the values are taken")
    func bounds() {
        for text in [
            "latency=5ms,lease=40ms,silence=15ms", "latency=1s", "latency=20ms,lease=90ms,silence=60ms",
            "latency=20ms,lease=300ms,silence=300ms",
        ] {
            #expect(reasons(text) == [], "\(text)")
        }
    }

    @Test(
        "a text that is none says what is wrong with it",
        arguments: [
            ("", "give fast, lan, wan, or times"), ("slow", "give fast, lan, wan, or times"),
            ("lease=150ms", "latency is missing"), ("latency=20", "\"20\" is not a time for latency"),
            ("latency=1.5ms", "\"1.5ms\" is not a time for latency"), ("latency=-5ms", "\"-5ms\" is not a time"),
            ("latency=99999999999999999999ms", "is not a time for latency"), ("latency=ms", "\"ms\" is not a time"),
            ("latency=20ms,latency=20ms", "latency is given twice"), ("latency=20ms,", "\"\" is not latency=, lease="),
            ("latency=20ms,hold=1ms", "\"hold=1ms\" is not latency=, lease="), ("=", "\"=\" is not latency=, lease="),
        ])
    func noTiming(text: String, expected: String) {
        let found = reasons(text)
        #expect(found.count == 1 && found.first?.contains(expected) == true, "\(found)")
    }

    @Test("two nodes that differ in any one time are told so in the same words, whoever finds it")
    func difference() throws {
        let one = HostPort(host: "192.0.2.1", port: 8800)
        let two = HostPort(host: "192.0.2.2", port: 8800)
        let mine = TimingClaim(.lan, of: one)
        #expect(mine.difference(from: TimingClaim(.lan, of: two)) == nil)
        for other in [
            Timing.fast, Timing(latency: Timing.lan.latency, hold: .milliseconds(181), silence: Timing.lan.silence),
            Timing(latency: Timing.lan.latency, hold: Timing.lan.hold, silence: .milliseconds(149)),
        ] {
            let theirs = TimingClaim(other, of: two)
            let failure = try #require(mine.difference(from: theirs))
            #expect(failure == theirs.difference(from: mine) && failure.reason == .otherTiming)
        }
        #expect(
            mine.difference(from: TimingClaim(.fast, of: two))?.text
                == "192.0.2.1:8800 runs with the timing lan (latency=30ms,lease=180ms,silence=150ms) and 192.0.2.2:8800 with "
                + "fast (latency=10ms,lease=100ms,silence=80ms): stop both, and start all members of the cluster with the same "
                + "--timing")
    }

    @Test("what waits for other hosts grows with the latency, what waits for this one never shrinks")
    func succession() {
        let fast = RelayCore.Settings(.fast).succession
        let lan = RelayCore.Settings(.lan).succession
        let wan = RelayCore.Settings(.wan).succession
        #expect(fast.stagger == .milliseconds(15) && fast.probePatience == .milliseconds(80))
        #expect(lan.stagger == .microseconds(22_500) && lan.probePatience == .milliseconds(120))
        #expect(wan.stagger == .milliseconds(75) && wan.probePatience == .milliseconds(400))
        #expect(fast.silence == .milliseconds(80) && fast.askInterval == .milliseconds(20))
    }
}
