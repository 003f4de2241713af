import CLinux
import Glibc
import Platform

/// The guard: the parent process of the daemon. It removes every address at the end of its lease, also when the daemon is
/// killed, hangs or is stopped, and starts it again.
///
/// It has one thread and opens no socket but netlink and the channel. It reads the ends of the leases in memory that it shares
/// with the daemon (`LeasePage`), and sleeps until the first of them that it knows. Once the daemon runs and the addresses
/// are known it allocates no memory, unless something goes wrong.
public enum GuardProcess {
    /// Guards until the daemon is stopped or will not be started again; returns the status to exit with.
    ///
    /// Call it on the first thread before there is any other: it takes the signals SIGTERM, SIGINT, SIGPWR, SIGQUIT
    /// and SIGCHLD by signalfd(2), which only works when no thread has them unblocked. The first one of those that
    /// mean "stop" is passed on to the daemon over the channel; with the second one, or after `Policy.stopTimeout`, the
    /// addresses are removed and the daemon is killed.
    ///
    /// - Returns: the daemon's status when that is final; 1 when it had to be killed; 71 (EX_OSERR) when the guard could
    ///   not even begin, which is logged.
    public static func run(_ configuration: GuardConfiguration) -> Int32 {
        if let threads = threadCount(), threads > 1 {
            configuration.log("the guard has \(threads) threads instead of one: a signal may end it without a word")
        }
        do {
            var loop = try GuardLoop(configuration)
            return loop.run()
        } catch {
            configuration.log("the guard cannot run: \(error)")
            return 71
        }
    }
}

/// The number of threads of this process: the 20th field of /proc/self/stat, see proc(5).
private func threadCount() -> Int? {
    guard let stat = (try? DurableFile.read("/proc/self/stat")) ?? nil else { return nil }
    let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
    return fields.count > 17 ? Int(fields[17]) : nil
}

private struct GuardLoop {
    private static let stopSignals: [Int32] = [SIGTERM, SIGINT, SIGPWR, SIGQUIT]
    /// How soon a removal that failed is tried again.
    private static let retry: Duration = .milliseconds(20)

    private let configuration: GuardConfiguration
    private let spawn: GuardSpawn
    private let netlink: Int32
    /// For questions to the kernel; made when the first one has to be asked.
    private var session: NetlinkSession?
    private let signals: Int32
    private let timer: BootTimer
    private var table = GuardCore()
    private var supervisor: GuardSupervisor
    /// The guard's end of the channel; −1 while there is none.
    private var channel: Int32 = -1
    /// The guard's end of the lifeline; −1 while there is none.
    private var lifeline: Int32 = -1
    /// What the present daemon says of its leases; nil while there is none.
    private var page: LeasePage?
    private var pid: pid_t = 0
    private var exitStatus: Int32?
    /// What the timer was set for.
    private var armed: BootInstant?
    /// What the timer was set for that has fired; it is early where that is far off.
    private var fired: BootInstant?
    private var reportedFailure = false
    /// What was just removed because its lease was over; logged when all removals are done.
    private var late: [GuardedAddress] = []

    init(_ configuration: GuardConfiguration) throws(SystemError) {
        self.configuration = configuration
        _ = clinux_set_thread_name(configuration.processName)
        // What whoever started the guard left open is not for the daemon, which gets its descriptors from `GuardSpawn`.
        for descriptor in 3..<Int32(1024) { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in Self.stopSignals + [SIGCHLD] { sigaddset(&mask, signal) }
        pthread_sigmask(SIG_BLOCK, &mask, nil)
        signals = try retryingOnInterrupt("open a signalfd") {
            signalfd(-1, &mask, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
        }
        timer = try BootTimer()
        netlink = try PreparedDeletion.openSocket()
        spawn = try GuardSpawn(configuration)
        ThreadPriority.set(ThreadPriority.urgent)
        supervisor = GuardSupervisor(policy: configuration.policy, now: BootClock.now)
        late.reserveCapacity(GuardCore.capacity)
    }

    mutating func run() -> Int32 {
        removeLeftOvers()
        perform(.wake)
        while exitStatus == nil {
            arm()
            waitForEvents()
            // Signals first, so that a daemon that obeyed the same one counts as stopped.
            readSignals()
            readChannel()
            removeExpired()
            reap()
            perform(.wake)
        }
        return exitStatus ?? GuardSupervisor.killedStatus
    }

    // MARK: Waiting

    private mutating func arm() {
        var next = table.nextLook
        if let wake = supervisor.nextWake { next = min(next ?? wake, wake) }
        guard next != armed else { return }
        armed = next
        timer.arm(at: next)
    }

    private mutating func waitForEvents() {
        let isCut = withUnsafeTemporaryAllocation(of: pollfd.self, capacity: 4) { descriptors in
            descriptors[0] = pollfd(fd: timer.descriptor, events: Int16(POLLIN), revents: 0)
            descriptors[1] = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            // poll(2) passes over a negative descriptor.
            descriptors[2] = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
            descriptors[3] = pollfd(fd: lifeline, events: 0, revents: 0)
            _ = poll(descriptors.baseAddress, 4, -1)
            if descriptors[0].revents != 0, timer.takeExpiry() { (fired, armed) = (armed, nil) }
            return descriptors[3].revents != 0
        }
        guard isCut else { return }
        close(lifeline)
        lifeline = -1
        // What it said before counts.
        readChannel(limit: .max)
        perform(.channelClosed)
    }

    private mutating func readSignals() {
        var information = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while read(signals, &information, size) == size {
            let number = Int32(bitPattern: information.ssi_signo)
            if number != SIGCHLD { perform(.stopSignal(Self.name(of: number))) }
        }
    }

    /// - Parameter limit: of records, so that a daemon that never stops talking does not keep the guard from its work.
    private mutating func readChannel(limit: Int = 2 * GuardCore.capacity) {
        guard channel >= 0 else { return }
        for _ in 0..<limit {
            // One byte more than a record, so that a longer packet is seen as such.
            let capacity = GuardRecord.size + 1
            let (count, record) = withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 8) { buffer in
                let count = recv(channel, buffer.baseAddress, capacity, Int32(MSG_DONTWAIT))
                return (
                    count, count > 0 ? GuardRecord(decoding: UnsafeRawBufferPointer(rebasing: buffer[..<count])) : nil
                )
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return }
            }
            guard count > 0 else {
                close(channel)
                channel = -1
                perform(.channelClosed)
                return
            }
            switch record {
            case .hold(let address, let slot):
                switch table.hold(address, slot: slot, now: BootClock.now) {
                case .held: break
                case .full: perform(.unguardable("it holds more than \(GuardCore.capacity) addresses"))
                case .notVirtual: perform(.unguardable("it holds \(address), which no host can own"))
                }
            case .release(let address): table.release(address)
            case .releaseAll: table.releaseAll()
            case .look: table.lookAtAll(now: BootClock.now)
            case .ready: perform(.ready)
            case .stop, nil: perform(.unguardable("it sent a record that the guard does not know"))
            }
        }
    }

    private mutating func reap() {
        guard pid > 0 else { return }
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return }
        // What it sent last counts, and the end of the channel was perhaps not read yet.
        readChannel()
        for descriptor in [channel, lifeline] where descriptor >= 0 { close(descriptor) }
        (pid, channel, lifeline, page) = (0, -1, -1, nil)
        // WIFEXITED, WEXITSTATUS and WTERMSIG of wait(2), which are macros.
        let signal = status & 0x7F
        if signal == 0 {
            perform(.ended(.exited(status: status >> 8 & 0xFF)))
        } else {
            perform(.ended(.signalled(number: signal, name: Self.name(of: signal))))
        }
    }

    // MARK: Acting

    private mutating func perform(_ event: GuardEvent) {
        for directive in supervisor.step(event, now: BootClock.now) {
            switch directive {
            case .start: start()
            case .sendStop: sendStop()
            case .removeAll: table.forEach { _ = $0.deletion.send(on: netlink) }
            case .clear:
                table.abandon(now: BootClock.now)
                removeExpired(announcing: false)
            case .kill: if pid > 0 { kill(pid, SIGKILL) }
            case .log(let line): log(line)
            case .exit(let status): exitStatus = status
            }
        }
    }

    private mutating func start() {
        do {
            let daemon = try spawn.start()
            (pid, channel, lifeline, page) = (daemon.pid, daemon.channel, daemon.lifeline, daemon.page)
            perform(.started(pid: pid))
        } catch {
            perform(.startFailed(error.description))
        }
    }

    private mutating func sendStop() {
        let sent = withUnsafeTemporaryAllocation(byteCount: GuardRecord.size, alignment: 8) { buffer in
            GuardRecord.stop.encode(into: buffer)
            return send(channel, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        }
        // A daemon that does not read its channel may still handle signals.
        if sent < 0 && pid > 0 { kill(pid, SIGTERM) }
    }

    private mutating func removeExpired(announcing: Bool = true) {
        let page = page
        table.look(now: BootClock.now, ahead: fired) { page?.end($0) ?? .noLease }
        fired = nil
        let now = BootClock.now
        var failure: SystemError?
        var position = 0
        while let entry = table.nextExpired(from: &position, now: now) {
            do throws(SystemError) {
                let wasThere = try remove(entry)
                if entry.isUnreported || wasThere && entry.isRemoved {
                    late.append(entry.address)
                } else if wasThere && announcing {
                    table.owesReport(of: entry.address)
                }
            } catch {
                table.failed(entry, again: now.advanced(by: Self.retry))
                failure = error
            }
        }
        for address in late { log("\(address): the daemon did not remove it when its lease was over: the guard has") }
        late.removeAll(keepingCapacity: true)
        if let failure, !reportedFailure {
            reportedFailure = true
            log("\(failure); it is tried again")
        }
    }

    /// Removes an address; returns whether it was there.
    private mutating func remove(_ entry: GuardCore.Entry) throws(SystemError) -> Bool {
        // Where it was removed once, somebody else may have set it by now: only what carries our tag is ours.
        if entry.isRemoved, try !isTagged(entry.address) { return false }
        switch entry.deletion.send(on: netlink) {
        case 0: return true
        case EADDRNOTAVAIL, ENODEV: return false
        case let code: throw SystemError("remove", entry.address.description, errno: code)
        }
    }

    private mutating func isTagged(_ address: GuardedAddress) throws(SystemError) -> Bool {
        guard let virtual = address.virtualAddress else { return false }
        if session == nil { session = try NetlinkSession() }
        let found = try session?.addresses(interface: address.interfaceIndex)
        return found?.contains { $0.isTagged && $0.matches(virtual) } ?? false
    }

    private func removeLeftOvers() {
        guard let file = configuration.addressesFile else { return }
        do {
            for address in try LeftOvers.remove(listedIn: file) {
                log("removed \(address.address)/\(address.prefixLength), which an earlier run had left")
            }
        } catch {
            log("what an earlier run left cannot be removed: \(error)")
        }
    }

    private func log(_ line: String) {
        // Nobody reads a full pipe at standard error: the guard must not wait for it.
        var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        if poll(&descriptor, 1, 0) == 1 && descriptor.revents & Int16(POLLOUT) != 0 { configuration.log(line) }
    }

    private static func name(of signal: Int32) -> String {
        switch signal {
        case SIGTERM: "SIGTERM"
        case SIGINT: "SIGINT"
        case SIGPWR: "SIGPWR"
        case SIGQUIT: "SIGQUIT"
        default: strsignal(signal).map { String(cString: $0) } ?? "signal \(signal)"
        }
    }
}
