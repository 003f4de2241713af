import Glibc
import Platform

/// A real name server, dnsmasq, on a loopback port or in a namespace; ends with `stop`, and with this process.
///
/// It knows what stands in its hosts file and options, answers for all of "lab", and refuses the rest.
public final class NameServer: Sendable {
    public let endpoint: HostPort
    private let directory: String
    private let process: ChildProcess
    private let watchdog: ChildProcess

    /// Starts it, and waits until it serves.
    ///
    /// `hosts`: lines of a hosts file, which `setHosts` replaces.
    /// `options`: as in dnsmasq(8), without dashes; records in them stay.
    /// `port`: nil takes any that is free.
    public init(
        hosts: [String] = [], _ options: [String] = [], address: String = "127.0.0.1", port: UInt16? = nil,
        in namespace: Namespace? = nil
    ) async throws {
        var template = Array("/tmp/dqlite-vip-dns-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.directory = directory
        endpoint = HostPort(host: address, port: try port ?? LoopbackPort.free())
        try Self.write(hosts, to: directory)
        process = try ChildProcess(
            [
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv",
                "--no-hosts", "--bind-interfaces", "--listen-address=\(address)", "--port=\(endpoint.port)",
                "--addn-hosts=\(directory)/hosts", "--local=/lab/", "--log-queries", "--log-facility=\(directory)/log",
            ] + options.map { "--" + $0 }, in: namespace, log: directory + "/output")
        // Nothing else ends a server when the tests are killed.
        watchdog = try ChildProcess(
            [
                "sh", "-c", "while kill -0 \"$0\"; do sleep 1; done 2>/dev/null; kill -9 \"$1\"; rm -rf \"$2\"",
                "\(getpid())", "\(process.pid)", directory,
            ], log: "/dev/null")
        do {
            try await awaitReading(count: 1)
        } catch {
            stop()
            throw error
        }
    }

    private static func write(_ lines: [String], to directory: String) throws {
        let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
        try DurableFile.write(bytes, to: directory + "/hosts", mode: 0o644)
    }

    /// Replaces the hosts file, and waits until the server knows it.
    public func setHosts(_ lines: [String]) async throws {
        let before = readings
        try Self.write(lines, to: directory)
        process.signal(SIGHUP)
        try await awaitReading(count: before + 1)
    }

    private var readings: Int { count("read \(directory)/hosts") }

    private func awaitReading(count: Int) async throws {
        try await eventually(
            "reading of the hosts file by dnsmasq", within: .seconds(20), every: .milliseconds(2),
            state: { ProcessTable.text(self.directory + "/output") }
        ) {
            readings >= count
        }
    }

    /// How many lines of its log have the text. Each query has one: "query[A] NAME from ...".
    public func count(_ text: String) -> Int {
        ProcessTable.text(directory + "/log").split(separator: "\n").count { $0.contains(text) }
    }

    /// Ends it, and waits until its port is free.
    public func end() async throws {
        stop()
        try await process.exit(within: .seconds(5))
    }

    public func stop() {
        watchdog.signal(SIGKILL)
        process.signal(SIGKILL)
        FileTree.remove(directory)
    }
}
