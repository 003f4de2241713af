import Glibc
import Platform

/// Asks one node again and again who leads: blocking, for a thread of its own.
///
/// A poll that succeeds allocates nothing: one send, one wait, one receive. Any failure, a late answer included,
/// closes the connection for good, because its answer could be taken for that of the next question; make a new probe.
public struct LeaderProbe: ~Copyable {
    private static let capacity = 1024
    /// The Leader request: one word of body, type 0, and the unused word.
    private static let request: (UInt64, UInt64) = (UInt64(1).littleEndian, 0)

    private let address: DqliteAddress
    private let timeout: Duration
    private let buffer: UnsafeMutableRawBufferPointer
    /// −1 once closed.
    private var descriptor: Int32

    /// Connects, blocking at most `timeout`, which is then the limit of each poll too.
    ///
    /// - Throws: `DqliteError.connectFailed`.
    public init(address: DqliteAddress, timeout: Duration) throws(DqliteError) {
        let deadline = BootClock.now.advanced(by: timeout)
        let socket: Int32
        do throws(SystemError) {
            switch address {
            case .abstractSocket(let name): socket = try DqliteSocket.connect(abstractName: name)
            case .tcp(let hostPort): socket = try DqliteSocket.connect(tcp: hostPort, until: deadline)
            }
        } catch {
            throw DqliteError(.connectFailed, "no connection to \(address)", cause: error)
        }
        var version = WireRequest.protocolVersion.littleEndian
        guard send(socket, &version, 8, Int32(MSG_NOSIGNAL)) == 8 else {
            let error = SystemError.last("send to", address.description)
            close(socket)
            throw DqliteError(.connectFailed, "no connection to \(address)", cause: error)
        }
        self.address = address
        self.timeout = timeout
        descriptor = socket
        buffer = .allocate(byteCount: Self.capacity, alignment: 8)
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        buffer.deallocate()
    }

    /// Asks once.
    ///
    /// - Returns: the leader's id, 0 when the node knows none.
    /// - Throws: `timedOut`, `connectionClosed` or `protocolViolation`, and `connectionClosed` ever after.
    public mutating func poll() throws(DqliteError) -> DqliteNodeID {
        guard descriptor >= 0 else {
            throw DqliteError(.connectionClosed, "the probe of \(address) is closed", remedy: "make a new one")
        }
        do {
            return try ask()
        } catch {
            close(descriptor)
            descriptor = -1
            throw error
        }
    }

    private borrowing func ask() throws(DqliteError) -> DqliteNodeID {
        let deadline = BootClock.now.advanced(by: timeout)
        var request = Self.request
        // Sixteen bytes into an empty socket buffer go whole or not at all.
        guard send(descriptor, &request, 16, Int32(MSG_NOSIGNAL)) == 16 else {
            throw DqliteError(
                .connectionClosed, "the question to \(address) cannot be sent", cause: SystemError.last("send"))
        }
        var received = 0
        while received < 8 { received += try receive(at: received, atMost: Self.capacity - received, deadline) }
        let header = UInt64(littleEndian: buffer.load(as: UInt64.self))
        let length = 8 + Int(UInt32(truncatingIfNeeded: header)) * 8
        let type = UInt8(truncatingIfNeeded: header >> 32)
        guard type == 1, length >= 24, length <= Self.capacity else {
            throw DqliteError(.protocolViolation, "\(address) answered with type \(type) and \(length) bytes")
        }
        while received < length { received += try receive(at: received, atMost: length - received, deadline) }
        guard received == length else {
            throw DqliteError(.protocolViolation, "\(address) sent more than the answer")
        }
        return UInt64(littleEndian: buffer.load(fromByteOffset: 8, as: UInt64.self))
    }

    private borrowing func receive(
        at offset: Int, atMost limit: Int, _ deadline: BootInstant
    ) throws(DqliteError) -> Int {
        while true {
            let isReady: Bool
            do throws(SystemError) {
                isReady = try DqliteSocket.wait(descriptor, for: Int16(POLLIN), until: deadline, address.description)
            } catch {
                throw DqliteError(.connectionClosed, "\(address)", cause: error)
            }
            guard isReady else { throw DqliteError(.timedOut, "\(address) did not answer within \(timeout)") }
            let count = recv(
                descriptor, buffer.baseAddress?.advanced(by: offset), limit, Int32(MSG_DONTWAIT))
            if count > 0 { return count }
            if count == 0 { throw DqliteError(.connectionClosed, "\(address) closed the connection") }
            if errno != EINTR && errno != EAGAIN {
                throw DqliteError(.connectionClosed, "\(address)", cause: SystemError.last("receive"))
            }
        }
    }
}
