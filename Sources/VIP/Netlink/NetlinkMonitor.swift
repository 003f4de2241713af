import CLinux
import Glibc
import Platform
import Synchronization

/// Reports changes of links and addresses as they happen, from a thread of its own.
///
/// It listens in the network namespace of the thread that created it, from the moment `init` returns: read the state after
/// that, and no change is missed.
public final class NetlinkMonitor: Sendable {
    /// The events, in the kernel's order; for one consumer.
    ///
    /// It ends with `stop()`, with the cancellation of the consumer's task, or when the socket fails for good: then make
    /// a new monitor, whose `init` says what is wrong.
    public let events: AsyncStream<NetlinkEvent>
    private let wakeUp: WakeUp

    /// How many events wait for a slow consumer before they are lost and `.overrun` is reported instead.
    public static let capacity = 4096

    /// - Throws: `SystemError` when the socket or the thread cannot be had.
    public convenience init() throws(SystemError) {
        // Enough for some ten thousand events while the thread does not get a processor.
        try self.init(socket: try Self.subscribe(receiveBuffer: 8 << 20))
    }

    /// A socket on which the events queue up; what does not fit into its buffer is lost.
    static func subscribe(receiveBuffer: Int32) throws(SystemError) -> NetlinkSocket {
        try NetlinkSocket(
            groups: UInt32(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR), receiveBuffer: receiveBuffer,
            timeout: nil)
    }

    init(socket: NetlinkSocket) throws(SystemError) {
        let wakeUp = try WakeUp()
        let (events, continuation) = AsyncStream.makeStream(
            of: NetlinkEvent.self, bufferingPolicy: .bufferingOldest(Self.capacity))
        self.events = events
        self.wakeUp = wakeUp
        continuation.onTermination = { _ in wakeUp.signal() }
        try BlockingThread.start(named: "vip-netlink") {
            var loop = MonitorLoop(socket: socket, wakeUp: wakeUp, queue: NetlinkEventQueue(continuation))
            loop.run()
        }
    }

    deinit { stop() }

    /// Ends the thread and the stream. Calling it again does nothing.
    public func stop() { wakeUp.signal() }
}

/// An eventfd(2) that ends a thread's poll(2).
private final class WakeUp: Sendable {
    let descriptor: Int32

    init() throws(SystemError) {
        descriptor = try retryingOnInterrupt("open an eventfd") { eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)) }
    }

    deinit { close(descriptor) }

    func signal() {
        var one: UInt64 = 1
        // It fails only when the counter is full, and then the thread is awake already.
        _ = write(descriptor, &one, 8)
    }
}

private struct MonitorLoop {
    let socket: NetlinkSocket
    let wakeUp: WakeUp
    var queue: NetlinkEventQueue
    var buffer = [UInt8](repeating: 0, count: NetlinkSocket.receiveCapacity)

    mutating func run() {
        defer { queue.finish() }
        var descriptors = [
            pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            let ready = poll(&descriptors, nfds_t(descriptors.count), queue.owesOverrun ? 50 : -1)
            if ready < 0 && errno != EINTR { return }
            if ready > 0 && descriptors[1].revents != 0 { return }
            if queue.owesOverrun { queue.deliver([]) }
            if ready > 0 && descriptors[0].revents != 0 {
                do {
                    queue.deliver(try socket.receive(into: &buffer).compactMap(\.event))
                } catch let error where error.errno == ENOBUFS || error.errno == EMSGSIZE {
                    queue.lose()
                } catch let error where error.errno == EAGAIN {
                    continue
                } catch {
                    return
                }
            }
        }
    }
}

/// The way to a consumer that may be slow: when events had to be dropped, `.overrun` comes before any later event.
struct NetlinkEventQueue {
    private let continuation: AsyncStream<NetlinkEvent>.Continuation
    /// Events were lost and the consumer has not been told yet, because its queue is full.
    private(set) var owesOverrun = false

    init(_ continuation: AsyncStream<NetlinkEvent>.Continuation) {
        self.continuation = continuation
    }

    /// Hands over events, after an overrun that is still owed.
    mutating func deliver(_ events: [NetlinkEvent]) {
        for event in (owesOverrun ? [.overrun] : []) + events {
            switch continuation.yield(event) {
            case .enqueued: if event == .overrun { owesOverrun = false }
            case .dropped, .terminated: owesOverrun = true
            @unknown default: owesOverrun = true
            }
        }
    }

    /// Events were lost on the way here.
    mutating func lose() {
        owesOverrun = true
        deliver([])
    }

    func finish() { continuation.finish() }
}

extension NetlinkMessage {
    /// The event that an unasked message means; a damaged one may have been any.
    fileprivate var event: NetlinkEvent? {
        switch content {
        case .newAddress(let address): .addressAdded(address)
        case .deletedAddress(let address): .addressRemoved(address)
        case .newLink(let link): .linkChanged(link)
        case .deletedLink(let index): .linkRemoved(index: index)
        case .malformed: .overrun
        case .acknowledgement, .failure, .done, .other, .neighbour: nil
        }
    }
}
