import CLinux
import Dispatch
import Glibc
import Platform

/// A socket for whole Ethernet frames (packet(7)). It never waits.
///
/// It works in the network namespace of the thread that created it, and may be used from any thread.
final class PacketSocket: Sendable {
    private let descriptor: Int32
    /// Whose number the descriptor is.
    private let early: EarlyDescriptors?

    /// Opens a socket that receives nothing before `listen`, so that no queue fills.
    ///
    /// - Parameters:
    ///   - purpose: what it is for, in the error's words.
    ///   - early: numbers of which it takes one, if there is one left.
    /// - Throws: `SystemError`: EPERM without CAP_NET_RAW.
    init(for purpose: String, early: EarlyDescriptors? = nil) throws(SystemError) {
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        do {
            let opened = try retryingOnInterrupt("open a packet socket for \(purpose)") { socket(AF_PACKET, kind, 0) }
            descriptor = early?.take(in: opened) ?? opened
            self.early = descriptor == opened ? nil : early
        } catch {
            throw error.advised(error.errno == EPERM || error.errno == EACCES ? Remedy.netRaw : nil)
        }
    }

    deinit {
        // The kernel waits for all its processors before it lets go of a packet socket that listened: some ms, which nobody
        // has here.
        DispatchQueue.global().async { [descriptor, early] in
            if let early { early.close(descriptor) } else { _ = close(descriptor) }
        }
    }

    /// Gives a frame to an interface.
    ///
    /// - Parameter frame: with its Ethernet header; shorter ones are refused with EINVAL.
    /// - Throws: `SystemError`: ENETDOWN when the interface is down, ENODEV or ENXIO when it is gone, ENOBUFS or EAGAIN when
    ///   its queue is full.
    func send(_ frame: [UInt8], interface: UInt32) throws(SystemError) {
        guard frame.count > 14 else { throw SystemError("send", errno: EINVAL) }
        var target = Self.address(interface, type: UInt16(frame[12]) << 8 | UInt16(frame[13]))
        target.sll_halen = 6
        withUnsafeMutableBytes(of: &target.sll_addr) { $0.copyBytes(from: frame[..<6]) }
        try retryingOnInterrupt("send") {
            withGeneric(&target) { generic, length in
                frame.withUnsafeBytes {
                    sendto(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT), generic, length)
                }
            }
        }
    }

    /// Gives many frames to an interface, as few system calls as there are: 64 at a time.
    ///
    /// - Returns: how many of them it took, from the first on; the rest met with a full queue.
    /// - Throws: as `send`, when it took none.
    func send(_ frames: [[UInt8]], interface: UInt32) throws(SystemError) -> Int {
        guard !frames.isEmpty else { return 0 }
        guard frames.allSatisfy({ $0.count > 14 && $0.count <= UInt16.max }) else {
            throw SystemError("send", errno: EINVAL)
        }
        let lengths = frames.map { UInt16($0.count) }
        let bytes = Array(frames.joined())
        return Int(
            try retryingOnInterrupt("send") {
                clinux_send_frames(descriptor, interface, bytes, lengths, Int32(frames.count))
            })
    }

    /// Lets in the frames of one Ethernet type on one interface that pass the program (linux/filter.h), from now on. What was
    /// let in before stays in the queue.
    func listen(interface: UInt32, type: UInt16, program: [sock_filter], isFirst: Bool) throws(SystemError) {
        var program = program
        try retryingOnInterrupt("filter frames") {
            let count = program.count
            return program.withUnsafeMutableBufferPointer { instructions in
                var description = sock_fprog(len: UInt16(count), filter: instructions.baseAddress)
                return setsockopt(
                    descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &description, socklen_t(MemoryLayout<sock_fprog>.size))
            }
        }
        guard isFirst else { return }
        var own = Self.address(interface, type: type)
        try retryingOnInterrupt("listen for frames") { withGeneric(&own) { bind(descriptor, $0, $1) } }
    }

    /// Has the interface take in frames to a multicast address of 6 bytes, or not any more; it ends with the socket.
    func membership(_ isMember: Bool, of address: [UInt8], interface: UInt32) throws(SystemError) {
        var request = packet_mreq()
        request.mr_ifindex = Int32(bitPattern: interface)
        request.mr_type = UInt16(PACKET_MR_MULTICAST)
        request.mr_alen = 6
        withUnsafeMutableBytes(of: &request.mr_address) { $0.copyBytes(from: address.prefix(6)) }
        let option = isMember ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP
        try retryingOnInterrupt("listen to a multicast group") {
            setsockopt(descriptor, SOL_PACKET, option, &request, socklen_t(MemoryLayout<packet_mreq>.size))
        }
    }

    /// The frames that came in since the last call, at most 1024: a flood is taken in pieces, so that nothing else has to
    /// wait for it.
    ///
    /// - Parameter buffer: longer frames are cut to its length.
    /// - Returns: whether that was all: no more is waiting, and none was lost since the last call because the queue was full.
    @discardableResult
    func receive(into buffer: inout [UInt8], _ take: (ArraySlice<UInt8>) -> Void) -> Bool {
        for number in 0..<1024 {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count < 0 {
                // The interface went down: netlink tells of that.
                if errno == EINTR || errno == ENETDOWN { continue }
                // A queue that was full has had frames to give.
                return number == 0 || !hasLost
            }
            take(buffer[..<count])
        }
        return false
    }

    /// Whether frames were lost since this was asked last: PACKET_STATISTICS of packet(7), which begins to count anew. When
    /// that cannot be read, they may have been.
    private var hasLost: Bool {
        var statistics = tpacket_stats()
        var length = socklen_t(MemoryLayout<tpacket_stats>.size)
        guard getsockopt(descriptor, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) == 0 else { return true }
        return statistics.tp_drops > 0
    }

    private static func address(_ interface: UInt32, type: UInt16) -> sockaddr_ll {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = type.bigEndian
        address.sll_ifindex = Int32(bitPattern: interface)
        return address
    }
}

private func withGeneric<Result>(
    _ address: inout sockaddr_ll, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_ll>.size))
        }
    }
}
