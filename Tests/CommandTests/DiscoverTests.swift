import Discovery
import FoundationEssentials
import Glibc
import Platform
import Synchronization
import Testing

@testable import dqlite_vip

@Suite struct DiscoverReportTests {
    private static func addresses(_ hosts: String...) -> [HostPort] { hosts.map { HostPort(host: $0, port: 8800) } }

    private static func report(
        _ sources: [DiscoverReport.Source], expect: Int? = nil, own: String = "192.0.2.1",
        states: [String: PortFinding.State] = [:]
    ) -> DiscoverReport {
        DiscoverReport(key: nil, sources: sources, bootstrapExpect: expect, notes: []) { address in
            let state = states[address.host] ?? .clusterPort
            return (PortFinding(state: state, detail: "is \(state.rawValue)"), address.host == own)
        }
    }

    private static let list = DiscoverReport.Source(
        mode: "static", asked: "192.0.2.1:8800, b:8800", addresses: addresses("192.0.2.1", "192.0.2.2"),
        duration: .milliseconds(3), warning: "cannot resolve \"b\"")
    private static let names = DiscoverReport.Source(
        mode: "dns", asked: "name n", addresses: addresses("192.0.2.3", "192.0.2.1"), duration: .milliseconds(1250))
    private static let broken = DiscoverReport.Source(
        mode: "etcd-kv", asked: "e:2379", addresses: [], duration: .seconds(5), error: "no answer")

    @Test("the table says what was asked, what came back, how long it took and what answers there")
    func table() {
        var report = Self.report([Self.list, Self.names, Self.broken], expect: 5, states: ["192.0.2.3": .refused])
        report.key = "prod/web"
        #expect(
            report.text.description == """
                key      prod/web
                static   192.0.2.1:8800, b:8800
                         2 addresses in 3 ms
                         but: cannot resolve "b"
                dns      name n
                         2 addresses in 1.2 s
                etcd-kv  e:2379
                         failed after 5.0 s: no answer

                ADDRESS         FROM         PORT
                192.0.2.1:8800  static, dns  cluster-port  is cluster-port (this host)
                192.0.2.2:8800  static       cluster-port  is cluster-port
                192.0.2.3:8800  dns          refused       is refused

                --bootstrap-expect 5: with this host 3 of them are known: a node would wait for 2 more

                """)
        #expect(report.failures.isEmpty)
        #expect(report.warnings == ["static: cannot resolve \"b\"", "etcd-kv: no answer"])
    }

    @Test("nothing found is a failure, whether nothing was there or nothing could be asked")
    func nothing() {
        var empty = Self.names
        empty.addresses = []
        #expect(Self.report([empty]).failures == ["no address was found"])
        #expect(Self.report([empty, Self.broken]).failures == ["etcd-kv: no answer", "no address was found"])
        #expect(Self.report([empty, Self.broken]).warnings.isEmpty)
        #expect(Self.report([empty]).text.description == "dns  name n\n     no address in 1.2 s\n")
    }

    @Test("an API port among the addresses is a failure, a node that is not started is none")
    func ports() {
        let report = Self.report([Self.names], states: ["192.0.2.1": .http, "192.0.2.3": .noAnswer])
        #expect(report.failures == ["192.0.2.1:8800: is http"])
    }

    @Test("a node counts itself towards --bootstrap-expect, named or not")
    func expected() {
        #expect(Self.report([Self.names], expect: 2).notes.isEmpty)
        #expect(Self.report([Self.names], expect: 3, own: "none").notes.isEmpty)
        #expect(
            Self.report([Self.names], expect: 3).notes
                == ["--bootstrap-expect 3: with this host 2 of them are known: a node would wait for 1 more"])
        #expect(
            Self.report([Self.broken], expect: 3).notes
                == ["--bootstrap-expect 3: with this host 1 of them is known: a node would wait for 2 more"])
    }

    @Test("JSON has every field each time")
    func json() throws {
        #expect(
            try JSONText.of(Self.report([Self.names, Self.broken], own: "192.0.2.3", states: ["192.0.2.1": .http]))
                == #"{"addresses":[{"address":"192.0.2.3:8800","detail":"is cluster-port","port":"cluster-port","sources":["dns"],"this_host":true},{"address":"192.0.2.1:8800","detail":"is http","port":"http","sources":["dns"],"this_host":false}],"failures":["192.0.2.1:8800: is http"],"key":null,"notes":[],"sources":[{"addresses":["192.0.2.3:8800","192.0.2.1:8800"],"asked":"name n","error":null,"milliseconds":1250,"mode":"dns","warning":null},{"addresses":[],"asked":"e:2379","error":"no answer","milliseconds":5000,"mode":"etcd-kv","warning":null}],"warnings":["etcd-kv: no answer"]}"#
        )
    }
}

@Suite struct PortProbeTests {
    @Test("what an answer says about who gave it")
    func answers() {
        func state(_ text: String) -> PortFinding.State { PortProbe.finding(in: Array(text.utf8)).state }
        #expect(state("HTTP/1.1 400 Bad Request\r\n\r\nThis is the cluster port of dqlite-vip. Its…") == .clusterPort)
        #expect(state("HTTP/1.1 404 Not Found\r\n\r\n{}") == .http)
        #expect(state("HTTP/") == .http)
        #expect(state("") == .accepted)
        #expect(state("SSH-2.0-OpenSSH_9.2\r\n") == .accepted)
        #expect(state("this is no cluster port of dqlite-vip") == .accepted)
    }

    @Test("a full port does not answer in time")
    func full() throws {
        let listener = try Listener("127.0.0.1", backlog: 0)
        let address = HostPort(host: "127.0.0.1", port: listener.port)
        // Nobody accepts: the queue fills up, and the kernel drops what comes then.
        let states = (0..<4).map { _ in PortProbe.finding(address, limit: .milliseconds(200)).state }
        #expect(states.first == .accepted && states.last == .noAnswer)
    }

    @Test("a closed port is refused, and a silent one accepts, for each family")
    func sockets() throws {
        for host in ["127.0.0.1", "::1"] {
            let listener = try Listener(host)
            let address = HostPort(host: host, port: listener.port)
            // The backlog takes the connection; nobody ever reads from it.
            #expect(PortProbe.finding(address, limit: .milliseconds(50)).state == .accepted)
            listener.close()
            #expect(PortProbe.finding(address).state == .refused)
        }
        #expect(PortProbe.finding(HostPort(host: "a.name", port: 1)).state == .failed)
    }

    @Test("the host's own addresses are known as such")
    func own() throws {
        #expect(PortProbe.isOwn(try #require(IPAddress("127.0.0.1"))))
        #expect(PortProbe.isOwn(try #require(IPAddress("::1"))))
        #expect(!PortProbe.isOwn(try #require(IPAddress("203.0.113.1"))))
    }

    /// A listening socket on loopback.
    private final class Listener: Sendable {
        let port: UInt16
        private let descriptor: Mutex<Int32>

        init(_ host: String, backlog: Int32 = 4) throws {
            let family = host.contains(":") ? AF_INET6 : AF_INET
            let opened = socket(family, Int32(SOCK_STREAM.rawValue), 0)
            descriptor = Mutex(opened)
            var hints = addrinfo()
            hints.ai_flags = AI_NUMERICHOST
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(host, "0", &hints, &list) == 0, let entry = list?.pointee,
                bind(opened, entry.ai_addr, entry.ai_addrlen) == 0, listen(opened, backlog) == 0
            else { throw SystemError.last("listen on", host) }
            freeaddrinfo(list)
            var storage = sockaddr_in6()
            var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            withUnsafeMutablePointer(to: &storage) { pointer in
                _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(opened, $0, &length) }
            }
            // The port stands at the same place in both families.
            port = UInt16(bigEndian: storage.sin6_port)
        }

        func close() {
            descriptor.withLock { descriptor in
                if descriptor >= 0 { Glibc.close(descriptor) }
                descriptor = -1
            }
        }

        deinit { close() }
    }
}
