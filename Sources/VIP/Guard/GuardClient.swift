import CLinux
import Glibc
import Platform
import Synchronization

/// The daemon's end of the channel to its guard.
///
/// A thread of its own reads what the guard says. When the guard dies, which ends the channel, that thread at once deletes
/// every address that is held, by itself and whatever the rest of the process is doing, and then ends the process: nobody
/// would remove the addresses any more when this process fails. (PR_SET_PDEATHSIG, see prctl(2), would be the other way. It
/// is not used: it kills without deleting, and it follows the death of the guard's thread, not of its process.)
public final class GuardClient: AddressGuard, Sendable {
    /// The status of a daemon that ended because its guard was gone: EX_SOFTWARE of sysexits.h.
    public static let guardLostStatus: Int32 = 70

    /// One element for each time the operator asked the guard for a stop; see `ShutdownRequests`.
    public let stopRequests: AsyncStream<Void>

    private let channel: Int32
    private let page: LeasePage
    private let cells = Mutex<[LeaseSlot: LeaseCell]>([:])
    private let netlink: Int32
    private let present = Atomic<Bool>(true)
    private let held = Mutex<[GuardedAddress: PreparedDeletion]>([:])
    private let stops: AsyncStream<Void>.Continuation

    /// Takes the channel that the environment names, and closes all inherited descriptors on exec. Also removes the
    /// variables of `GuardEnvironment` from this process, so that no program started by it takes itself for a daemon: call
    /// it before other threads use the environment. It gives nil when the environment names no channel: this process was not
    /// started by a guard.
    ///
    /// - Parameters:
    ///   - environment: of this process.
    ///   - onGuardLost: is called on the client's thread when the guard is gone and the addresses are deleted; at most
    ///     50 ms should pass in it. Afterwards the process ends with `guardLostStatus`.
    /// - Throws: `SystemError` when what it names is no channel to a guard.
    public convenience init?(
        environment: [String: String], onGuardLost: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        guard let text = environment[GuardEnvironment.channel] else { return nil }
        Self.takeName()
        unsetenv(GuardEnvironment.channel)
        unsetenv(GuardEnvironment.lifeline)
        unsetenv(GuardEnvironment.leases)
        unsetenv(GuardEnvironment.inherited)
        for descriptor in GuardEnvironment.inheritedDescriptors(environment) {
            try retryingOnInterrupt("take over the descriptor", "\(descriptor)") {
                fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            }
        }
        var type: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard let channel = Int32(text), getsockopt(channel, SOL_SOCKET, SO_TYPE, &type, &length) == 0,
            type == Int32(SOCK_SEQPACKET.rawValue)
        else {
            throw SystemError(
                "use the channel to the guard", "\(GuardEnvironment.channel)=\(text)", errno: EBADF,
                remedy: "remove this variable from the environment; only the guard sets it")
        }
        let page = try Self.takePage(environment)
        if let lifeline = environment[GuardEnvironment.lifeline].flatMap({ Int32($0) }) {
            try GuardLifeline.hang(on: lifeline)
        }
        try self.init(channel: channel, page: page) {
            onGuardLost()
            // A set that was under way when the guard died may have come after the deletion: this one comes after it.
            usleep(10_000)
            return .end
        }
    }

    private static func takePage(_ environment: [String: String]) throws(SystemError) -> LeasePage {
        let text = environment[GuardEnvironment.leases] ?? ""
        do {
            let descriptor = Int32(text) ?? -1
            let page = try LeasePage(descriptor: descriptor, isWritable: true)
            close(descriptor)
            return page
        } catch {
            throw SystemError(
                "use the memory shared with the guard", "\(GuardEnvironment.leases)=\(text)", errno: error.errno,
                remedy: "remove this variable from the environment; only the guard sets it")
        }
    }

    /// Gives the process the name by which the guard was called: started through /proc/self/exe it is called "exe".
    private static func takeName() {
        guard let name = CommandLine.arguments.first?.utf8.split(separator: UInt8(ascii: "/")).last else { return }
        // A name is a help for people: nothing depends on it. This file names the first thread, whichever thread writes; the
        // one of the process is root's where the process leaves no core (see `ProcessRights`), this one is open to its threads.
        let descriptor = open("/proc/self/task/\(getpid())/comm", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = Array(name.prefix(15)).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
    }

    /// What to do after the loss of the guard.
    enum Consequence {
        case end
        /// In tests: the process that plays the daemon is the test run itself.
        case stay
    }

    init(channel: Int32, page: LeasePage, onGuardLost: @escaping @Sendable () -> Consequence) throws(SystemError) {
        self.channel = channel
        self.page = page
        try retryingOnInterrupt("take over the channel to the guard") { fcntl(channel, F_SETFD, FD_CLOEXEC) }
        netlink = try PreparedDeletion.openSocket()
        (stopRequests, stops) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(8))
        try BlockingThread.start(named: "vip-guard") { [self] in
            read()
            present.store(false, ordering: .sequentiallyConsistent)
            deleteHeld()
            let consequence = onGuardLost()
            deleteHeld()
            if consequence == .end { _exit(Self.guardLostStatus) }
        }
    }

    public var isPresent: Bool { present.load(ordering: .sequentiallyConsistent) }

    /// The cell of a lease that the guard watches; the same one each time.
    public func lease(_ slot: LeaseSlot) -> LeaseCell {
        cells.withLock { cells in
            if let cell = cells[slot] { return cell }
            let cell = LeaseCell(page: page, slot: slot) { [weak self] in
                // When the guard does not take it, it is stopped or gone. A guard that goes on looks by itself, at the
                // latest when the end has come that it read last.
                try? self?.send(.look)
            }
            cells[slot] = cell
            return cell
        }
    }

    public func hold(_ address: VirtualAddress, interface: UInt32, slot: LeaseSlot) throws(SystemError) {
        let guarded = GuardedAddress(address, interfaceIndex: interface)
        let isFull = held.withLock { held in
            if held[guarded] == nil {
                if held.count >= GuardCore.capacity { return true }
                held[guarded] = PreparedDeletion(address, interface: interface)
            }
            return false
        }
        guard !isFull else {
            throw SystemError(
                "have the guard watch", "\(address)", errno: ENOSPC,
                remedy: "a node can hold at most \(GuardCore.capacity) addresses")
        }
        try send(.hold(guarded, slot: slot))
    }

    public func release(_ address: VirtualAddress, interface: UInt32) throws(SystemError) {
        let guarded = GuardedAddress(address, interfaceIndex: interface)
        held.withLock { _ = $0.removeValue(forKey: guarded) }
        try send(.release(guarded))
    }

    /// Tells the guard that the daemon is up, for its messages.
    ///
    /// - Throws: `SystemError` when the guard is gone.
    public func reportReady() throws(SystemError) {
        try send(.ready)
    }

    private func send(_ record: GuardRecord) throws(SystemError) {
        guard isPresent else { throw SystemError("tell the guard", "", errno: EPIPE) }
        let code = withUnsafeTemporaryAllocation(byteCount: GuardRecord.size, alignment: 8) { buffer in
            record.encode(into: buffer)
            while Glibc.send(channel, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) < 0 {
                if errno != EINTR { return errno }
            }
            return 0
        }
        guard code == 0 else {
            throw SystemError(
                "tell the guard", "", errno: code,
                remedy: code == EAGAIN ? "the guard process does not read: see whether it is stopped (`ps`)" : nil)
        }
    }

    /// Returns when the guard is gone.
    private func read() {
        withUnsafeTemporaryAllocation(byteCount: GuardRecord.size, alignment: 8) { buffer in
            while true {
                let count = recv(channel, buffer.baseAddress, buffer.count, 0)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return }
                // A guard of another version may say more; nothing but a stop concerns the daemon.
                if GuardRecord(decoding: UnsafeRawBufferPointer(rebasing: buffer[..<count])) == .stop { stops.yield() }
            }
        }
    }

    private func deleteHeld() {
        // Only this thread uses the socket. The lock is held by others for the time of a dictionary access.
        let deletions = held.withLock { Array($0.values) }
        for deletion in deletions { _ = deletion.send(on: netlink) }
    }
}
