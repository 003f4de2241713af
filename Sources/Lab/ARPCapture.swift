import CLinux
import Glibc
import Platform
import Synchronization

/// Records the ARP packets that reach an interface of a namespace.
public final class ARPCapture: Sendable {
    public struct Entry: Sendable {
        public var time: BootInstant
        public var frame: ARPFrame
    }

    private let log = Log()
    private let poller: Poller

    private final class Log: Sendable {
        let entries = Mutex<[Entry]>([])
    }

    init(_ namespace: Namespace, interface: String) throws {
        let descriptor = try namespace.perform { try PacketSocket.open(interface: interface) }
        let log = log
        poller = try Poller(
            "lab-arp", nice: -5,
            [
                Poller.Source(descriptor: descriptor) { descriptor, now in
                    var buffer = [UInt8](repeating: 0, count: 256)
                    while true {
                        let count = recv(descriptor, &buffer, buffer.count, 0)
                        if count < 0 && Glibc.errno == EINTR { continue }
                        // EAGAIN: nothing more. ENETDOWN: said once when the interface goes down.
                        guard count >= 0 else { return }
                        if let frame = ARPFrame(frame: Array(buffer[..<count])) {
                            log.entries.withLock { $0.append(Entry(time: now, frame: frame)) }
                        }
                    }
                }
            ])
    }

    public var entries: [Entry] { log.entries.withLock { $0 } }

    /// Announcements of `address` since `time`, oldest first.
    public func announcements(of address: IPAddress, since time: BootInstant) -> [Entry] {
        entries.filter { $0.time >= time && $0.frame.isGratuitous && $0.frame.sender == address }
    }

    func stop() { poller.stop() }
}

/// AF_PACKET sockets for ARP; see packet(7).
enum PacketSocket {
    private static let arpProtocol = UInt16(0x0806).bigEndian

    /// Opens a socket in the calling thread's namespace that gets all ARP frames of the interface, non-blocking.
    static func open(interface: String) throws(SystemError) -> Int32 {
        let descriptor = try retryingOnInterrupt("open a packet socket") {
            socket(
                AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
                Int32(arpProtocol))
        }
        do {
            var address = try Self.address(interface)
            try retryingOnInterrupt("bind a packet socket to", interface) {
                withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
                    }
                }
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Sends a whole Ethernet frame from an interface of the calling thread's namespace.
    static func send(_ frame: [UInt8], interface: String) throws(SystemError) {
        let descriptor = try open(interface: interface)
        defer { close(descriptor) }
        try retryingOnInterrupt("send a frame from", interface) { Glibc.send(descriptor, frame, frame.count, 0) }
    }

    private static func address(_ interface: String) throws(SystemError) -> sockaddr_ll {
        let index = if_nametoindex(interface)
        guard index > 0 else { throw SystemError.last("find the interface", interface) }
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = arpProtocol
        address.sll_ifindex = Int32(index)
        return address
    }
}
