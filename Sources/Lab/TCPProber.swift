import CLinux
import Glibc
import Platform
import Synchronization

/// What a client went through that holds a connection to the VIP.
public struct ConnectionRecord: Equatable, Sendable {
    /// When a connection was there, and when it was lost or not answered any more.
    public var made: [BootInstant] = []
    public var lost: [BootInstant] = []

    public init() {}

    /// How many were lost from `time` on.
    public func losses(since time: BootInstant) -> Int { lost.count { $0 >= time } }
}

/// A client that holds a TCP connection to the VIP, asks on it every 20 ms, and makes a new one when it is lost.
public final class TCPProber: Sendable {
    /// An answer that takes longer is none. Longer than the second and more for which an old kernel may serve on, and than
    /// retransmissions after a short silence.
    static let patience = Duration.seconds(3)
    static let interval: Int32 = 20

    private let state: Shared
    private let thread: OwnThread
    private let stopped = Mutex(false)

    private final class Shared: Sendable {
        let record = Mutex(ConnectionRecord())
        let isStopping = Atomic<Bool>(false)
    }

    init(_ namespace: Namespace, target: IPAddress) throws {
        let state = Shared()
        self.state = state
        let address = DatagramSocket.socketAddress(target, target.family, port: DatagramSocket.port)
        let family = target.family.addressFamily
        // The thread is made inside, so that its sockets are, too.
        thread = try namespace.perform {
            try OwnThread("lab-tcp-prober", nice: -10) { Self.run(address, family, state) }
        }
    }

    public var record: ConnectionRecord { state.record.withLock { $0 } }

    func stop() {
        let first = stopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard first else { return }
        state.isStopping.store(true, ordering: .relaxed)
        thread.join()
    }

    deinit { stop() }

    private static func run(_ address: [UInt8], _ family: Int32, _ state: Shared) {
        Scheduling.observeInRealTime()
        while !state.isStopping.load(ordering: .relaxed) {
            let descriptor = socket(
                family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            guard descriptor >= 0 else { return }
            if connect(descriptor, address) {
                state.record.withLock { $0.made.append(BootClock.now) }
                converse(descriptor, state)
                if !state.isStopping.load(ordering: .relaxed) {
                    state.record.withLock { $0.lost.append(BootClock.now) }
                }
            } else {
                poll(nil, 0, interval)
            }
            close(descriptor)
        }
    }

    private static func connect(_ descriptor: Int32, _ address: [UInt8]) -> Bool {
        let result = DatagramSocket.withSocketAddress(address) { Glibc.connect(descriptor, $0, $1) }
        if result == 0 { return true }
        guard Glibc.errno == EINPROGRESS, wait(descriptor, POLLOUT, 200) else { return false }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        return code == 0
    }

    /// Until the connection is lost or the prober stops.
    private static func converse(_ descriptor: Int32, _ state: Shared) {
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        var byte: UInt8 = 0
        while !state.isStopping.load(ordering: .relaxed) {
            guard send(descriptor, &byte, 1, Int32(MSG_NOSIGNAL)) == 1 else { return }
            let deadline = BootClock.now.advanced(by: patience)
            var isAnswered = false
            while !isAnswered && BootClock.now < deadline && !state.isStopping.load(ordering: .relaxed) {
                guard wait(descriptor, POLLIN, 100) else { continue }
                guard recv(descriptor, &byte, 1, 0) == 1 else { return }
                isAnswered = true
            }
            if !isAnswered { return }
            poll(nil, 0, interval)
        }
    }

    private static func wait(_ descriptor: Int32, _ event: Int32, _ milliseconds: Int32) -> Bool {
        var polled = pollfd(fd: descriptor, events: Int16(event), revents: 0)
        return poll(&polled, 1, milliseconds) > 0
    }
}

/// What answers it: on every server, bytes come back on the connection that they came on.
final class TCPResponders: Sendable {
    private let state: Shared
    private let thread: OwnThread
    private let listeners: [Int32]
    private let stopped = Mutex(false)

    private final class Shared: Sendable {
        let isStopping = Atomic<Bool>(false)
    }

    init(_ namespaces: [Namespace], family: IPAddress.Family) throws {
        let state = Shared()
        self.state = state
        var listeners: [Int32] = []
        do {
            for namespace in namespaces {
                listeners.append(try namespace.perform { try Self.listen(family) })
            }
            let all = listeners
            thread = try OwnThread("lab-tcp-echo", nice: -10) { Self.run(all, state) }
        } catch {
            for listener in listeners { close(listener) }
            throw error
        }
        self.listeners = listeners
    }

    func stop() {
        let first = stopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard first else { return }
        state.isStopping.store(true, ordering: .relaxed)
        thread.join()
        for listener in listeners { close(listener) }
    }

    deinit { stop() }

    private static func listen(_ family: IPAddress.Family) throws(SystemError) -> Int32 {
        let descriptor = try retryingOnInterrupt("open a TCP socket") {
            socket(
                family.addressFamily,
                Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        }
        let address = DatagramSocket.socketAddress(nil, family, port: DatagramSocket.port)
        do {
            try retryingOnInterrupt("bind TCP port", "\(DatagramSocket.port)") {
                DatagramSocket.withSocketAddress(address) { bind(descriptor, $0, $1) }
            }
            try retryingOnInterrupt("listen on TCP port", "\(DatagramSocket.port)") { Glibc.listen(descriptor, 16) }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func run(_ listeners: [Int32], _ state: Shared) {
        Scheduling.observeInRealTime()
        var connections: [Int32] = []
        var buffer = [UInt8](repeating: 0, count: 256)
        while !state.isStopping.load(ordering: .relaxed) {
            var polled = (listeners + connections).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&polled, nfds_t(polled.count), 100) > 0 else { continue }
            for entry in polled where entry.revents != 0 {
                if listeners.contains(entry.fd) {
                    // Blocking, and never asked when it would block. Children close it (Spawning).
                    let made = accept(entry.fd, nil, nil)
                    if made >= 0 { connections.append(made) }
                } else {
                    let count = recv(entry.fd, &buffer, buffer.count, 0)
                    if count > 0 {
                        send(entry.fd, buffer, count, Int32(MSG_NOSIGNAL))
                    } else if count == 0 || Glibc.errno != EAGAIN {
                        close(entry.fd)
                        connections.removeAll { $0 == entry.fd }
                    }
                }
            }
        }
        for connection in connections { close(connection) }
    }
}
