import CLinux
import Glibc
import Logging
import Platform
import Synchronization

/// What the thread of multicast discovery and its users tell each other.
final class MulticastExchange: Sendable {
    typealias Waiter = CheckedContinuation<[HostPort], any Error>

    /// What the thread has to do.
    struct Orders {
        var announcement: MulticastRecord??
        var wantsLookUp = false
        var isStopped = false
    }

    private struct State {
        var orders = Orders()
        var nextWaiter: UInt64 = 0
        /// Those for whom no look-up has begun yet, and those for whom one runs.
        var waiting: [UInt64: Waiter] = [:]
        var served: [UInt64: Waiter] = [:]
        var isAnnounced = false
        /// Why the thread is not there; why no datagram can carry the announcement; what is in the way to the group.
        var startProblem: String?
        var unspeakable: String?
        var problem: String?
        var statistics = DiscoveryStatistics(mode: MulticastDiscovery.mode)
        var counts = MulticastCounts()
    }

    private let state = Mutex(State())
    /// An eventfd(2) that wakes the thread.
    let wakeUp: Int32

    init() throws(SystemError) {
        wakeUp = try retryingOnInterrupt("open an eventfd") { eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)) }
    }

    deinit { close(wakeUp) }

    private func wake() {
        var one: UInt64 = 1
        // It fails only when the counter is full, and then the thread is awake already.
        _ = write(wakeUp, &one, 8)
    }

    // MARK: - For users

    func announce(_ record: MulticastRecord?) {
        state.withLock {
            $0.orders.announcement = .some(record)
            $0.isAnnounced = record != nil
            $0.unspeakable = nil
        }
        wake()
    }

    func stop() {
        state.withLock { $0.orders.isStopped = true }
        wake()
    }

    func newWaiter() -> UInt64 {
        state.withLock { state in
            defer { state.nextWaiter += 1 }
            return state.nextWaiter
        }
    }

    func wait(_ id: UInt64, _ waiter: Waiter) {
        state.withLock {
            $0.waiting[id] = waiter
            $0.orders.wantsLookUp = true
        }
        wake()
    }

    func cancel(_ id: UInt64) {
        let waiter = state.withLock { $0.waiting.removeValue(forKey: id) ?? $0.served.removeValue(forKey: id) }
        waiter?.resume(throwing: CancellationError())
    }

    var statistics: DiscoveryStatistics {
        state.withLock { state in
            var statistics = state.statistics
            if state.isAnnounced {
                statistics.announceError = state.startProblem ?? state.unspeakable ?? state.problem
            }
            return statistics
        }
    }

    func set(startProblem: String?) {
        state.withLock {
            $0.startProblem = startProblem
            if let startProblem { $0.statistics.lastError = startProblem }
        }
    }

    var counts: MulticastCounts { state.withLock { $0.counts } }

    // MARK: - For the thread

    func takeOrders() -> Orders {
        var count: UInt64 = 0
        _ = read(wakeUp, &count, 8)
        return state.withLock { state in
            let orders = state.orders
            state.orders.announcement = nil
            state.orders.wantsLookUp = false
            if orders.wantsLookUp {
                state.served.merge(state.waiting) { old, _ in old }
                state.waiting = [:]
            }
            return orders
        }
    }

    func set(unspeakable: String) { state.withLock { $0.unspeakable = unspeakable } }
    func set(problem: String?) { state.withLock { $0.problem = problem } }
    func set(counts: MulticastCounts) { state.withLock { $0.counts = counts } }

    func finishLookUp(_ addresses: [HostPort], trouble: MulticastNote?) {
        let (waiters, result) = state.withLock { state in
            let result: Result<[HostPort], any Error>
            state.statistics.lastError = state.problem ?? trouble?.description
            if addresses.isEmpty, let problem = state.problem {
                result = .failure(DiscoveryError(.unreachable, "nobody can be asked by multicast: \(problem)"))
            } else {
                state.statistics.lastContact = .now
                state.statistics.lastAddresses = addresses
                result = .success(addresses)
            }
            defer { state.served = [:] }
            return (Array(state.served.values), result)
        }
        for waiter in waiters { waiter.resume(with: result) }
    }
}

/// The thread of multicast discovery: carries between core, socket and users.
struct MulticastLoop {
    private let exchange: MulticastExchange
    private let logger: Logger
    private var core: MulticastCore
    private var link: MulticastLink
    private var random = SystemRandomNumberGenerator()
    private var reported: String?
    private var buffer = [UInt8](repeating: 0, count: MulticastDatagram.receiveCapacity)

    /// Between two looks at the interface. Also what it takes to notice, with nobody looking for nodes, that it is back.
    private static let checkInterval = Duration.seconds(1)

    init(exchange: MulticastExchange, core: MulticastCore, link: MulticastLink, logger: Logger) {
        self.exchange = exchange
        self.core = core
        self.link = link
        self.logger = logger
    }

    mutating func run() {
        var nextCheck = BootClock.now
        while true {
            let orders = exchange.takeOrders()
            if orders.isStopped { return }
            // Who looks for nodes learns at once that the interface has come.
            if BootClock.now >= nextCheck || (orders.wantsLookUp && link.problem != nil) {
                nextCheck = BootClock.now.advanced(by: Self.checkInterval)
                if link.check() { handle(.connected) }
            }
            if let announcement = orders.announcement { handle(.announce(announcement)) }
            if orders.wantsLookUp { handle(.lookUp) }
            var datagrams: [MulticastSocket.Datagram] = []
            link.receive(into: &buffer) { datagrams.append($0) }
            for datagram in datagrams { handle(.datagram(datagram.bytes, from: datagram.source)) }
            handle(.tick)
            exchange.set(counts: core.counts)
            // What was not read yet is there at once.
            wait(until: min(core.nextDeadline ?? nextCheck, nextCheck))
        }
    }

    private func wait(until deadline: BootInstant) {
        var descriptors = [pollfd(fd: exchange.wakeUp, events: Int16(POLLIN), revents: 0)]
        if let socket = link.socket {
            descriptors.append(pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0))
        }
        let nanoseconds = max(0, BootClock.now.duration(to: deadline).inNanoseconds)
        let milliseconds = Int32(clamping: (nanoseconds + 999_999) / 1_000_000)
        // ENOMEM, the only other error than EINTR here, must not make a busy loop.
        if poll(&descriptors, nfds_t(descriptors.count), milliseconds) < 0, errno != EINTR { usleep(10_000) }
    }

    private mutating func handle(_ event: MulticastEvent) {
        for directive in core.handle(event, at: BootClock.now, using: &random) {
            switch directive {
            case .send(let bytes): link.send(bytes)
            case .found(let addresses, let trouble):
                reportProblem()
                exchange.finishLookUp(addresses, trouble: trouble)
            case .note(let note):
                if case .unspeakable = note { exchange.set(unspeakable: note.description) }
                logger.log(level: note.isWarning ? .warning : .info, "multicast discovery: \(note)")
            }
        }
        reportProblem()
    }

    /// Once per change.
    private mutating func reportProblem() {
        guard link.problem != reported else { return }
        reported = link.problem
        exchange.set(problem: reported)
        if let reported {
            logger.warning("multicast discovery: \(reported); tried again every second")
        } else {
            logger.info("multicast discovery: \(link.group) is reached over \(link.interface) again")
        }
    }
}
