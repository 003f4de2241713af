import Glibc
import Platform
import Synchronization

@testable import VIP

/// A guard and its daemon as real processes: the executable `guard-probe`, which says how it is used.
final class ProbeProcess: Sendable {
    let directory: String
    let guardPID: pid_t
    private let isReaped = Atomic(false)

    /// Starts it; to be called on a namespace's thread.
    ///
    /// - Parameter environment: what is in the environment besides that of the tests.
    init(
        _ mode: String, _ further: [String] = [], list: [AddressesFile.Entry]? = nil,
        environment: [String: String] = [:]
    ) throws {
        var template = Array("/tmp/guard-probe-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if let list { try AddressesFile.write(list, to: StoredFile("addresses", in: OpenDirectory(directory))) }

        // The probe lies where the tests lie.
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count)
        let tests = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let probe = tests.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/guard-probe"

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 2, directory + "/log", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var arguments: [UnsafeMutablePointer<CChar>?] =
            ([probe, directory, "v0", mode] + further).map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var variables = environment.map { strdup("\($0)=\($1)") }
        defer { for variable in variables { free(variable) } }
        var inherited = environ
        while let variable = inherited.pointee {
            variables.append(strdup(variable))
            inherited += 1
        }
        var process = pid_t()
        let code = posix_spawn(&process, probe, &actions, nil, &arguments, variables + [nil])
        guard code == 0 else { throw SystemError("start", probe, errno: code) }
        guardPID = process
    }

    deinit {
        // Whatever a test left: the guard first, so that it starts nothing again.
        if !isReaped.load(ordering: .acquiring) {
            kill(guardPID, SIGKILL)
            waitpid(guardPID, nil, 0)
        }
        if let daemon = try? daemonPID() { kill(daemon, SIGKILL) }
        for name in ["addresses", "daemon.pid", "lock", "log", "spin"] { unlink(directory + "/" + name) }
        rmdir(directory)
    }

    /// The process id of the present daemon.
    func daemonPID() throws -> pid_t {
        let text = String(decoding: try DurableFile.read(directory + "/daemon.pid") ?? [], as: UTF8.self)
        guard let pid = pid_t(text.dropLast()) else { throw DidNotHappen(description: "no daemon was started") }
        return pid
    }

    /// Until when a lease lasts, as it stands in the memory that the guard reads.
    func leaseEnd(_ slot: Int = 0) throws -> BootInstant {
        let maps = try runCommand(["cat", "/proc/\(guardPID)/maps"])
        guard let line = maps.split(separator: "\n").first(where: { $0.contains("dqlite-vip-leases") }),
            let start = line.split(separator: "-").first.flatMap({ Int($0, radix: 16) })
        else { throw DidNotHappen(description: "the guard has mapped no leases") }
        let memory = open("/proc/\(guardPID)/mem", O_RDONLY | O_CLOEXEC)
        defer { close(memory) }
        var word: Int64 = 0
        guard pread(memory, &word, 8, start + 8 * slot) == 8 else { throw SystemError.last("read the guard's memory") }
        return BootInstant(nanoseconds: word)
    }

    /// How often the guard has gone to sleep: see voluntary_ctxt_switches in proc(5).
    func guardSleeps() throws -> Int {
        let status = String(decoding: try DurableFile.read("/proc/\(guardPID)/status") ?? [], as: UTF8.self)
        let line = status.split(separator: "\n").first { $0.hasPrefix("voluntary") }
        guard let count = line?.split(separator: "\t").last.flatMap({ Int($0) }) else {
            throw DidNotHappen(description: "the guard is gone")
        }
        return count
    }

    /// Stops the daemon; returns when it stands still.
    func stopDaemon() async throws {
        let daemon = try daemonPID()
        kill(daemon, SIGSTOP)
        while Self.state(daemon) != "T" { try await Task.sleep(for: .milliseconds(1)) }
    }

    /// What guard and daemon wrote to standard error.
    var log: String { String(decoding: ((try? DurableFile.read(directory + "/log")) ?? nil) ?? [], as: UTF8.self) }

    /// Waits until the log holds a text; the processes write it after what they tell of.
    func logs(_ text: String, within limit: Duration = .seconds(10)) async throws {
        let deadline = BootClock.now.advanced(by: limit)
        while !log.contains(text) {
            guard BootClock.now < deadline else {
                throw DidNotHappen(description: "\"\(text)\" was not logged within \(limit); log: \(log)")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Waits until the guard ends; returns its exit status, or the negated number of the signal that ended it.
    func end(within limit: Duration = .seconds(10)) async throws -> Int32 {
        var status: Int32 = 0
        // There is no event to wait for here: only a parent that blocks hears of the end.
        let deadline = BootClock.now.advanced(by: limit)
        while waitpid(guardPID, &status, WNOHANG) != guardPID {
            guard BootClock.now < deadline else {
                throw DidNotHappen(description: "the guard did not end within \(limit); log: \(log)")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
        isReaped.store(true, ordering: .releasing)
        return status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
    }

    /// Whether a process lives: it is there and no zombie.
    static func isAlive(_ pid: pid_t) -> Bool {
        switch state(pid) {
        case nil, "Z", "X": false
        default: true
        }
    }

    /// The state of a process as proc(5) gives it: T is stopped; nil when there is none.
    static func state(_ pid: pid_t) -> String? {
        guard let bytes = (try? DurableFile.read("/proc/\(pid)/stat")) ?? nil else { return nil }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: ")").last?.split(separator: " ")
        return fields?.first.map(String.init)
    }
}
