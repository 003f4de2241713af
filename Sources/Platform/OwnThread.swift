import Glibc

/// A thread for work that waits in system calls.
///
/// It inherits the network namespace of the thread that makes it. All signals are blocked in it, so that they keep going to
/// the threads that expect them, but those of a fault of its own (SIGSEGV and its like): those must find their handler.
public final class OwnThread: Sendable {
    private let handle: pthread_t

    /// Starts `body` on a new thread, which ends when it returns.
    ///
    /// - Parameters:
    ///   - name: shown by ps(1) and gdb(1), of which the kernel keeps 15 bytes.
    ///   - stackSize: in bytes; the resolver of glibc and libcurl are content with 512 KiB.
    ///   - nice: see nice(2); negative values need CAP_SYS_NICE and are tried, not enforced.
    /// - Throws: `SystemError` with EAGAIN when the kernel has no thread to give; `body` is not called then.
    public init(
        _ name: String, stackSize: Int = 512 << 10, nice: Int32 = 0, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackSize)

        var blocked = sigset_t()
        var before = sigset_t()
        sigfillset(&blocked)
        for fault in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] { sigdelset(&blocked, fault) }
        pthread_sigmask(SIG_SETMASK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }

        let start = Unmanaged.passRetained(Start(name: name, nice: nice, body: body))
        var handle = pthread_t()
        let code = pthread_create(&handle, &attributes, runStart, start.toOpaque())
        if code != 0 {
            start.release()
            throw SystemError("start a thread for", name, errno: code)
        }
        self.handle = handle
    }

    /// Waits for the end of the thread. Call this or `detach`, once: else the kernel keeps its stack.
    public func join() {
        pthread_join(handle, nil)
    }

    /// Lets the thread go; what it had is freed when it ends.
    public func detach() {
        pthread_detach(handle)
    }
}

/// What a thread is to do.
private final class Start: Sendable {
    let name: String
    let nice: Int32
    let body: @Sendable () -> Void

    init(name: String, nice: Int32, body: @escaping @Sendable () -> Void) {
        self.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
        self.nice = nice
        self.body = body
    }
}

private func runStart(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
    nameThread(start.name)
    // 0 is the calling thread: Linux keeps nice values per thread.
    if start.nice != 0 { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, start.nice) }
    start.body()
    return nil
}

/// Names the calling thread the kernel's own way, since Swift's Glibc hides pthread_setname_np; see proc(5). A name is a help
/// for people: a thread without one does its work all the same, so a failure is left at that.
private func nameThread(_ name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = name.utf8CString.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count - 1) }
    close(descriptor)
}
