import CLinux
import Glibc
import Platform

/// Starts the daemon with its ends of what it shares with the guard: posix_spawn(3), unix(7) and memfd_create(2).
struct GuardSpawn {
    private let configuration: GuardConfiguration
    /// Copies far above the numbers that the daemon's descriptors get, so that none is overwritten by another.
    private let inherited: [Int32]
    /// The nice value with which the guard itself was started.
    private let originalPriority = ThreadPriority.current

    private static let firstCopy: Int32 = 64
    /// Room for a record of each of `GuardCore.capacity` addresses, of which the kernel counts about 1 KiB each.
    private static let channelBuffer: Int32 = 2 << 20

    init(_ configuration: GuardConfiguration) throws(SystemError) {
        self.configuration = configuration
        var copies: [Int32] = []
        for descriptor in configuration.inheritedDescriptors {
            copies.append(try Self.copy(descriptor))
        }
        inherited = copies
    }

    /// A daemon that was started, with the guard's ends of what the two share.
    struct Daemon {
        var pid: pid_t
        var channel: Int32
        var lifeline: Int32
        var page: LeasePage
    }

    func start() throws(SystemError) -> Daemon {
        var opened: [Int32] = []
        var kept: [Int32] = []
        defer { for descriptor in opened where !kept.contains(descriptor) { close(descriptor) } }
        let channel = try Self.openChannel()
        opened += [channel.guardEnd, channel.daemonEnd]
        let lifeline = try Self.openLifeline()
        opened += [lifeline.guardEnd, lifeline.daemonEnd]
        let memory = try LeasePage.makeMemory()
        opened.append(memory)
        let page = try LeasePage(descriptor: memory, isWritable: false)
        var ends: [Int32] = []
        for end in [channel.daemonEnd, lifeline.daemonEnd, memory] {
            ends.append(try Self.copy(end))
            opened += ends.suffix(1)
        }
        let pid = try spawn(ends)
        kept = [channel.guardEnd, lifeline.guardEnd]
        return Daemon(pid: pid, channel: channel.guardEnd, lifeline: lifeline.guardEnd, page: page)
    }

    /// The two ends of a lifeline: nothing is ever sent over it.
    static func openLifeline() throws(SystemError) -> (guardEnd: Int32, daemonEnd: Int32) {
        var pair: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try retryingOnInterrupt("open a lifeline of the daemon") { socketpair(AF_UNIX, kind, 0, &pair) }
        return (pair[0], pair[1])
    }

    /// The two ends of a new channel.
    static func openChannel() throws(SystemError) -> (guardEnd: Int32, daemonEnd: Int32) {
        var pair: [Int32] = [-1, -1]
        let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try retryingOnInterrupt("open a channel to the daemon") { socketpair(AF_UNIX, kind, 0, &pair) }
        enlargeBuffer(of: pair[1])
        return (pair[0], pair[1])
    }

    private static func copy(_ descriptor: Int32) throws(SystemError) -> Int32 {
        try retryingOnInterrupt("duplicate the descriptor", "\(descriptor)") {
            fcntl(descriptor, F_DUPFD_CLOEXEC, firstCopy)
        }
    }

    private static func enlargeBuffer(of descriptor: Int32) {
        var size = channelBuffer
        let length = socklen_t(MemoryLayout<Int32>.size)
        // Beyond net.core.wmem_max with CAP_NET_ADMIN only. Without, a burst of many addresses may find the channel full,
        // which the daemon takes for a guard that does not listen: an error that is seen, not a danger.
        if setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, length) != 0 {
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, length)
        }
    }

    private func spawn(_ ends: [Int32]) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        var number = GuardEnvironment.channelDescriptor
        for source in ends + inherited {
            posix_spawn_file_actions_adddup2(&actions, source, number)
            number += 1
        }

        // The guard has raised its priority, which the daemon shall not have from it.
        let priority = ThreadPriority.current
        ThreadPriority.set(originalPriority)
        defer { ThreadPriority.set(priority) }

        // The guard blocks the signals that it reads from a descriptor; the daemon starts with none blocked.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        var pid: pid_t = 0
        let code = withCStrings(configuration.arguments) { arguments in
            withCStrings(environment()) { environment in
                posix_spawn(&pid, configuration.executable, &actions, &attributes, arguments, environment)
            }
        }
        guard code == 0 else { throw SystemError("start", configuration.executable, errno: code) }
        return pid
    }

    private func environment() -> [String] {
        var environment = configuration.environment
        environment[GuardEnvironment.channel] = "\(GuardEnvironment.channelDescriptor)"
        environment[GuardEnvironment.lifeline] = "\(GuardEnvironment.lifelineDescriptor)"
        environment[GuardEnvironment.leases] = "\(GuardEnvironment.leasesDescriptor)"
        let first = Int(GuardEnvironment.leasesDescriptor) + 1
        environment[GuardEnvironment.inherited] = nil
        if !inherited.isEmpty {
            let numbers = inherited.indices.map { "\(first + $0)" }
            environment[GuardEnvironment.inherited] = numbers.joined(separator: ",")
        }
        return environment.map { "\($0)=\($1)" }
    }
}

private func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
}
