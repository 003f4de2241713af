import CLinux
import Glibc
import Platform
import Synchronization

/// A named network namespace, as ip-netns(8) keeps them: a file under /run/netns.
public struct Namespace: Hashable, Sendable {
    public let name: String

    static let directory = "/run/netns"

    init(name: String) {
        self.name = name
    }

    /// Makes the namespace, with loopback up.
    ///
    /// `hasIPv6`: else it is off, because its own multicasts would disturb counts of packets. Addresses are those that are
    /// set, at once and without questions whether anybody has them.
    static func create(_ name: String, hasIPv6: Bool = false) throws -> Namespace {
        try ToolCommand.check(["ip", "netns", "add", name])
        let namespace = Namespace(name: name)
        do {
            try namespace.perform {
                let settings =
                    hasIPv6
                    ? ["accept_ra": "0", "autoconf": "0", "accept_dad": "0", "router_solicitations": "0"]
                    : ["disable_ipv6": "1"]
                for scope in ["all", "default"] {
                    for (name, value) in settings {
                        let path = "/proc/sys/net/ipv6/conf/\(scope)/\(name)"
                        // A kernel without IPv6 has no such file, and nothing to switch off.
                        if access(path, F_OK) == 0 { try writeSetting(path, value) }
                    }
                }
            }
            try ToolCommand.check(["ip", "-n", name, "link", "set", "lo", "up"])
        } catch {
            namespace.delete()
            throw error
        }
        return namespace
    }

    /// Removes the name; the kernel removes the namespace with the last process and socket in it.
    func delete() {
        FileTree.remove(filesDirectory)
        // Fails, as it should, while others have files there.
        rmdir(Self.filesRoot)
        // A name that is gone already is what is wanted; nothing else can be done here about any other failure.
        _ = try? ToolCommand.run(["ip", "netns", "delete", name])
    }

    /// Those with a name, and those of which only files are left.
    static func existing() -> [Namespace] {
        Set(ProcessTable.entries(of: directory) + ProcessTable.entries(of: filesRoot)).map { Namespace(name: $0) }
    }

    private static let filesRoot = "/etc/netns"
    private var filesDirectory: String { "\(Self.filesRoot)/\(name)" }

    /// Puts a file in the place of /etc/NAME for the processes that are started in the namespace from now on; what runs
    /// already sees the new content where it had an earlier one. See ip-netns(8).
    func setFile(_ name: String, _ content: String) throws(SystemError) {
        // Another laboratory may remove the empty parent at this moment.
        for _ in 0..<10 where mkdir(filesDirectory, 0o755) != 0 && Glibc.errno != EEXIST {
            if mkdir(Self.filesRoot, 0o755) != 0 && Glibc.errno != EEXIST {
                throw SystemError.last("make the directory", Self.filesRoot)
            }
        }
        // Not renamed into place: a bind mount shows the file that it was made of.
        try writeFile(content, to: "\(filesDirectory)/\(name)")
    }

    /// Runs `body` on a thread inside the namespace. Sockets made there stay there, whoever uses them afterwards.
    public func perform<T: Sendable>(_ body: @escaping @Sendable () throws -> T) throws -> T {
        let box = ResultBox<T>()
        let thread = try OwnThread("lab-namespace") {
            let outcome = Result {
                try self.enter()
                return try body()
            }
            box.outcome.withLock { $0 = outcome }
        }
        thread.join()
        guard let outcome = box.outcome.withLock({ $0 }) else { throw LabError("\(name): the thread gave no result") }
        return try outcome.get()
    }

    /// Moves the calling thread into the namespace, for the rest of its life.
    private func enter() throws(SystemError) {
        let path = "\(Self.directory)/\(name)"
        let descriptor = try retryingOnInterrupt("open the namespace", path) { open(path, O_RDONLY | O_CLOEXEC) }
        defer { close(descriptor) }
        try retryingOnInterrupt("enter the namespace", path) { clinux_enter_network_namespace(descriptor) }
    }

    /// Sets a kernel parameter of the namespace's network, such as "ipv4/ip_nonlocal_bind".
    public func set(_ parameter: String, to value: String) throws {
        try perform { try writeSetting("/proc/sys/net/\(parameter)", value) }
    }

    /// Every process that runs in the namespace, zombies left out.
    public func processes() -> [pid_t] {
        var information = stat()
        guard stat("\(Self.directory)/\(name)", &information) == 0 else { return [] }
        return ProcessTable.processes(inNetworkNamespace: information.st_ino)
    }

    /// Kills every process that runs in the namespace, and waits until none is left.
    func killProcesses() {
        let deadline = BootClock.now.advanced(by: .seconds(5))
        while BootClock.now < deadline {
            let pids = processes()
            if pids.isEmpty { return }
            for pid in pids { kill(pid, SIGKILL) }
            poll(nil, 0, 2)
        }
    }
}

private final class ResultBox<T: Sendable>: Sendable {
    let outcome = Mutex<Result<T, any Error>?>(nil)
}

/// Writes a file in place.
func writeFile(_ content: String, to path: String, mode: mode_t = 0o644) throws(SystemError) {
    try write(content, to: path, flags: O_CREAT | O_TRUNC, mode: mode)
}

/// Writes over the first bytes of a file, which is made when it is not there, and leaves the rest.
func overwriteFile(_ content: String, at path: String) throws(SystemError) {
    try write(content, to: path, flags: O_CREAT, mode: 0o644)
}

private func write(_ content: String, to path: String, flags: Int32, mode: mode_t) throws(SystemError) {
    let descriptor = try retryingOnInterrupt("open", path) { open(path, O_WRONLY | O_CLOEXEC | flags, mode) }
    defer { close(descriptor) }
    var rest = Array(content.utf8)[...]
    while !rest.isEmpty {
        let count = try retryingOnInterrupt("write", path) {
            rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        }
        rest = rest.dropFirst(count)
    }
}

/// Writes a setting under /proc/sys.
func writeSetting(_ path: String, _ value: String) throws(SystemError) {
    let descriptor = try retryingOnInterrupt("open", path) { open(path, O_WRONLY | O_CLOEXEC) }
    defer { close(descriptor) }
    let bytes = Array(value.utf8)
    try retryingOnInterrupt("write", path) { Glibc.write(descriptor, bytes, bytes.count) }
}
