import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Platform
import Testing

@testable import API

extension FailoverReport {
    fileprivate static let example = FailoverReport(
        timing: .init(
            profile: nil, latency: 21, heartbeat: 31.5, electionTimeout: 315, lease: 158, silence: 126),
        leaseRemaining: 128.4, leases: 3, leasesLost: ["expired": 1, "transferred": 0], elections: ["dead": 2],
        takeovers: .init(
            count: 1, sums: ["detection": 20.5],
            last: .init(
                term: 7, at: WallTime(milliseconds: 0), reason: "dead", total: 31, phases: ["detection": 20.5])),
        addresses: .init(claims: 1, releases: ["shutdown": 0], announcements: 4, neighboursTold: 17))
}

@Suite struct MetricsTests {
    private static var report: StatusReport {
        var report = StatusReport.example
        report.failover = .example
        return report
    }

    private func ask(_ path: String, _ control: FakeControlPlane) async throws -> (HTTPFields, String) {
        let server = APIServer(
            bind: HostPort(host: "127.0.0.1", port: 0), control: control,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        return try await server.makeApplication().test(.router) { client in
            let response = try await client.executeRequest(uri: path, method: .get, headers: [:], body: nil)
            return (response.headers, String(buffer: response.body))
        }
    }

    @Test("GET /metrics is the text format of Prometheus: each family once, with help and type before its values")
    func endpoint() async throws {
        let control = FakeControlPlane()
        control.change { $0.status = Self.report }
        let (headers, text) = try await ask("/metrics", control)
        #expect(headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
        #expect(text.hasSuffix("\n"))
        for line in [
            "dqlite_vip_info{version=\"0.1.0\",cluster=\"dqlite-vip\",node=\"two\",node_id=\"uuid-2\"} 1",
            "dqlite_vip_is_leader 0",
            "dqlite_vip_has_leader 1", "dqlite_vip_raft_term 7", "dqlite_vip_members{role=\"stand-by\"} 1",
            "dqlite_vip_address_held{address=\"192.0.2.10/24\"} 0", "dqlite_vip_lease_remaining_seconds 0.1284",
            "dqlite_vip_leases_lost_total{reason=\"expired\"} 1",
            "dqlite_vip_leases_lost_total{reason=\"transferred\"} 0",
            "dqlite_vip_elections_started_total{reason=\"dead\"} 2", "dqlite_vip_unreadable_streams 0",
            "dqlite_vip_takeover_seconds_total{phase=\"detection\"} 0.0205",
            "dqlite_vip_last_takeover_seconds{phase=\"detection\"} 0.0205", "dqlite_vip_announcements_total 4",
            "dqlite_vip_neighbours_told_total 17",
        ] {
            #expect(text.contains("\n\(line)\n"), "\(line)")
        }
        var typed: Set<Substring> = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("# TYPE ") {
                #expect(typed.insert(words[2]).inserted && ["counter", "gauge"].contains(words[3]))
                #expect((words[3] == "counter") == words[2].hasSuffix("_total"))
            } else if !line.hasPrefix("#") {
                #expect(typed.contains(words[0].prefix { $0 != "{" }) && Double(words[1]) != nil, "\(line)")
            }
        }
    }

    @Test("names that people chose cannot break the format")
    func escaping() {
        var report = StatusReport.example
        report.clusterName = "a\"b\\c\nd"
        #expect(MetricsText(report).description.contains(#"cluster="a\"b\\c\nd","#))
    }

    @Test(
        "a quote, a backslash or a line feed is found also where it is no Character of its own",
        arguments: [
            ("a\r\nb", "a\r\\nb"), ("\r\n", "\r\\n"), ("\"\u{301}", "\\\"\u{301}"), ("\\\u{301}", "\\\\\u{301}"),
            ("\n\u{301}", "\\n\u{301}"), ("\"\u{200D}\"", "\\\"\u{200D}\\\""), ("\\n", "\\\\n"), ("é 漢字 😀", "é 漢字 😀"),
            ("", ""),
        ])
    func scalars(text: String, escaped: String) {
        // By scalars, since "e" with an accent equals "é".
        #expect(MetricsText.escaped(text).unicodeScalars.elementsEqual(escaped.unicodeScalars))
    }

    @Test(
        "Prometheus's own client for Python reads the very names, whatever is in them",
        .enabled(
            if: PrometheusClient.isThere,
            "no prometheus_client for \(PrometheusClient.python): apt-get install python3-prometheus-client, or DQLITE_VIP_PYTHON"
        ))
    func parser() throws {
        for nasty in [
            "a\"b\\c\nd", "\r\n", "\"\u{301}", "\\\u{301}", "\\", "\\n", "\"} 1\nforged{x=\"", "a,b=\"c\"", "{}# HELP",
            " ", "é 漢字 😀",
            "\u{2028}\u{85}\u{B}\u{C}\u{1C}",
        ] {
            var report = Self.report
            report.clusterName = nasty
            report.name = nasty
            let labels = try PrometheusClient.labels(of: "dqlite_vip_info", in: MetricsText(report).description)
            #expect(labels["cluster"]?.unicodeScalars.elementsEqual(nasty.unicodeScalars) == true, "\(nasty)")
            #expect(labels["node"]?.unicodeScalars.elementsEqual(nasty.unicodeScalars) == true, "\(nasty)")
            #expect(Set(labels.keys) == ["version", "cluster", "node", "node_id"])
        }
    }

    @Test(
        "the status carries the numbers, nulls written out, and is decoded as it was; one without them is decoded too")
    func status() async throws {
        let control = FakeControlPlane()
        control.change { $0.status = Self.report }
        let (_, text) = try await ask("/status", control)
        #expect(
            text.contains(#""timing":{"election_timeout_ms":315,"heartbeat_ms":31.5,"latency_ms":21,"lease_ms":158,"#))
        #expect(text.contains(#""profile":null"#) && text.contains(#""lease_remaining_ms":128.4"#))
        #expect(try JSONDecoder().decode(StatusReport.self, from: Data(text.utf8)) == Self.report)
        control.change { $0.status.failover = FailoverReport(timing: FailoverReport.example.timing) }
        let (_, bare) = try await ask("/status", control)
        #expect(bare.contains(#""lease_remaining_ms":null"#) && bare.contains(#""last":null"#))
        control.change { $0.status = .example }
        #expect(try await !ask("/status", control).1.contains("failover"))
    }
}
