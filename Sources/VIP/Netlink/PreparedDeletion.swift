import CLinux
import Glibc
import Platform

/// A finished RTM_DELADDR request, for the guard: sending it allocates no memory and takes no lock of ours.
///
/// In an optimised build `send(on:)` calls send(2), recv(2) and errno, and nothing else (seen in its machine code).
public struct PreparedDeletion: Sendable {
    /// The longest request: header 16, ifaddrmsg 8, two attributes of 4 + 16 for IPv6.
    private static let capacity = 64
    private let message: InlineArray<64, UInt8>
    private let length: Int

    /// Encodes the deletion of exactly this address with this prefix length. This may allocate.
    public init(_ address: VirtualAddress, interface: UInt32) {
        let bytes = NetlinkRequest.deleteAddress(address, interface: interface).encode(sequence: 1)
        length = min(bytes.count, Self.capacity)
        message = InlineArray { $0 < bytes.count ? bytes[$0] : 0 }
    }

    /// Opens a socket for `send(on:)`, in the network namespace of the calling thread. The caller closes it.
    ///
    /// - Throws: `SystemError` when no netlink socket can be had.
    public static func openSocket() throws(SystemError) -> Int32 {
        let socket = try NetlinkSocket(timeout: nil)
        return try retryingOnInterrupt("duplicate a netlink socket") { fcntl(socket.descriptor, F_DUPFD_CLOEXEC, 3) }
    }

    /// Removes the address and waits for the kernel's word, which comes before the send returns.
    ///
    /// - Parameter descriptor: of `openSocket()`, not used by another thread meanwhile.
    /// - Returns: 0 when the address was removed; EADDRNOTAVAIL when it was not there, ENODEV when the interface was not;
    ///   EPERM without CAP_NET_ADMIN; EAGAIN when the kernel gave no answer; or what send(2) and recv(2) failed with.
    public func send(on descriptor: Int32) -> Int32 {
        // Up to 1024 bytes this is on the stack. The answer is 20 bytes, and longer where it explains an error.
        withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { answer in
            // What an earlier, disturbed exchange left in the queue would be taken for our answer.
            while recv(descriptor, answer.baseAddress, answer.count, Int32(MSG_DONTWAIT)) >= 0 || errno == EINTR {}
            while withUnsafeBytes(of: message, { Glibc.send(descriptor, $0.baseAddress, length, 0) }) < 0 {
                if errno != EINTR { return errno }
            }
            while true {
                let count = recv(descriptor, answer.baseAddress, answer.count, Int32(MSG_DONTWAIT))
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno
                }
                // struct nlmsghdr of 16 bytes with the type at 4, then the negated errno.
                guard count >= 20,
                    answer.loadUnaligned(fromByteOffset: 4, as: UInt16.self) == UInt16(NLMSG_ERROR)
                else { continue }
                return 0 &- answer.loadUnaligned(fromByteOffset: 16, as: Int32.self)
            }
        }
    }
}
