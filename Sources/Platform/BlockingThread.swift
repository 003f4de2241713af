import Glibc

/// Threads for calls that block (getaddrinfo, libcurl): the cooperative pool has one thread per core, and a few blocked
/// ones would stop every task of the daemon.
public enum BlockingThread {
    /// Starts a detached thread with all signals blocked, so that signals keep going to the threads that expect them.
    ///
    /// ps and gdb show the name, of which the kernel keeps 15 bytes. The stack size is in bytes; the resolver of glibc and
    /// libcurl are content with 512 KiB.
    ///
    /// - Throws: `SystemError` with EAGAIN when the kernel has no thread to give; `body` is not called then.
    public static func start(
        named name: String, stackSize: Int = 512 << 10, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackSize)

        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }

        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let code = pthread_create(&thread, &attributes, runStart, start.toOpaque())
        if code != 0 {
            start.release()
            throw SystemError("start a thread for", name, errno: code)
        }
    }

    /// Runs `work` on a thread of its own and gives back what it returned or threw.
    ///
    /// Cancellation does not reach a blocked call: bound the time of `work` itself.
    public static func run<Value: Sendable>(
        named name: String, stackSize: Int = 512 << 10, _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try start(named: name, stackSize: stackSize) { continuation.resume(with: Result { try work() }) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}

/// What a thread is to do.
private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
        self.body = body
    }
}

private func runStart(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
    nameThread(start.name)
    start.body()
    return nil
}

/// Names the calling thread the kernel's own way, since Swift's Glibc hides pthread_setname_np; see proc(5). A thread
/// without a name works too, so a failure is left at that.
private func nameThread(_ name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = name.utf8CString.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count - 1) }
    close(descriptor)
}
