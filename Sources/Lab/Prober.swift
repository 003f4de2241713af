import CLinux
import Glibc
import Platform
import Synchronization

/// A client that asks the VIP once a millisecond, and notes who answers and when.
///
/// It uses the kernel's own neighbour table, so it moves to another node when a client's machine would: by
/// gratuitous ARP, or when its entry runs out.
public final class Prober: Sendable {
    /// Time between two questions.
    public static let interval = Duration.milliseconds(1)

    private let recorder = Recorder()
    private let thread: OwnThread
    private let wake: Int32
    private let descriptors: [Int32]
    private let stopped = Mutex(false)

    private final class Recorder: Sendable {
        let state = Mutex(ProbeRecord())
    }

    init(_ namespace: Namespace, target: IPAddress) throws {
        let socket = try namespace.perform { try DatagramSocket.open(port: 0, family: target.family) }
        let timer = try retryingOnInterrupt("make a timer") {
            timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))
        }
        let wake = try retryingOnInterrupt("make an eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) }
        let nanoseconds = Int(Self.interval.inNanoseconds)
        var every = itimerspec(
            it_interval: timespec(tv_sec: 0, tv_nsec: nanoseconds), it_value: timespec(tv_sec: 0, tv_nsec: nanoseconds))
        try retryingOnInterrupt("start the timer") { timerfd_settime(timer, 0, &every, nil) }
        self.wake = wake
        descriptors = [socket, timer, wake]
        let recorder = recorder
        thread = try OwnThread("lab-prober", nice: -15) {
            Self.run(socket: socket, timer: timer, wake: wake, target: target, recorder)
        }
    }

    /// All that was sent and answered since the start or the last `forget`.
    public var record: ProbeRecord { recorder.state.withLock { $0 } }

    /// The last answer; nil when there was none yet.
    public var lastReply: ProbeRecord.Reply? { recorder.state.withLock { $0.replies.last } }

    /// Drops what was recorded.
    public func forget() { recorder.state.withLock { $0 = ProbeRecord() } }

    func stop() {
        let first = stopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard first else { return }
        eventfd_write(wake, 1)
        thread.join()
        for descriptor in descriptors { close(descriptor) }
    }

    deinit { stop() }

    private static func run(socket: Int32, timer: Int32, wake: Int32, target: IPAddress, _ recorder: Recorder) {
        Scheduling.observeInRealTime()
        let destination = DatagramSocket.socketAddress(target, target.family, port: DatagramSocket.port)
        var polled = [socket, timer, wake].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while true {
            if poll(&polled, nfds_t(polled.count), -1) < 0 { continue }
            let now = BootClock.now
            if polled[2].revents != 0 { return }
            if polled[0].revents != 0 {
                while let datagram = DatagramSocket.receive(socket) {
                    guard let reply = ProbeRecord.Reply(datagram.bytes, receivedAt: now) else { continue }
                    recorder.state.withLock { $0.replies.append(reply) }
                }
            }
            if polled[1].revents != 0 {
                var expirations: UInt64 = 0
                let size = MemoryLayout<UInt64>.size
                guard read(timer, &expirations, size) == size else { continue }
                let question = withUnsafeBytes(of: now.nanoseconds.littleEndian) { Array($0) }
                let sent = DatagramSocket.send(question, to: destination, on: socket)
                recorder.state.withLock { record in
                    if sent { record.questions.append(now) } else { record.refused += 1 }
                    // We did not run for so long: what looks like an outage then is our own.
                    if expirations > ProbeRecord.stallTicks {
                        record.stalls.append(
                            ProbeRecord.Stall(end: now, length: .milliseconds(Int64(clamping: expirations))))
                    }
                }
            }
        }
    }
}
