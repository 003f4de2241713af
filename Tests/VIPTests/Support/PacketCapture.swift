import CLinux
import Glibc
import Platform
import VIP

/// Sees the frames of one Ethernet type, ARP by default, that arrive at an interface: make it in the interface's namespace.
final class PacketCapture: Sendable {
    private let descriptor: Int32

    init(interface: String, type: Int32 = ETH_P_ARP) throws {
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let type = UInt16(type).bigEndian
        descriptor = try retryingOnInterrupt("open a packet socket") { socket(AF_PACKET, kind, Int32(type)) }
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = type
        address.sll_ifindex = Int32(bitPattern: if_nametoindex(interface))
        let result = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
            }
        }
        guard result == 0 else { throw SystemError.last("listen on", interface) }
    }

    deinit { close(descriptor) }

    /// The next Neighbour Solicitation or Advertisement, of those that arrive within the limit.
    func nextNeighbour(within limit: Duration) throws -> NeighbourFrame? {
        let end = BootClock.now.advanced(by: limit)
        while BootClock.now < end, let (bytes, _) = try next(within: BootClock.now.duration(to: end)) {
            if let frame = NeighbourFrame(decoding: bytes) { return frame }
        }
        return nil
    }

    /// The next frame and when it was read; nil when none comes in time. It blocks the thread.
    func next(within limit: Duration) throws -> (bytes: [UInt8], time: BootInstant)? {
        var descriptors = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        let ready = try retryingOnInterrupt("wait for a frame") {
            poll(&descriptors, 1, Int32(clamping: limit.inMilliseconds))
        }
        if ready == 0 { return nil }
        var buffer = [UInt8](repeating: 0, count: 2048)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        // A link that goes down is told once; what comes when it is up again is received.
        if count < 0 && errno == ENETDOWN { return try next(within: limit) }
        guard count >= 0 else { throw SystemError.last("receive a frame") }
        return (Array(buffer[..<count]), BootClock.now)
    }
}
