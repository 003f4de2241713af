import CLinux
import Glibc

/// A POSIX thread of one's own, for work that must not wait for, or hold up, Swift's cooperative pool.
public struct OwnThread: Sendable {
    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void

        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    private let body: Body

    /// - Parameter name: shown by ps and top; the kernel keeps the first 15 bytes.
    public init(name: String, _ run: @escaping @Sendable () -> Void) {
        body = Body(name: name, run: run)
    }

    /// Starts the thread, detached.
    ///
    /// - Returns: false when the kernel refuses another thread (EAGAIN: the limit of processes is reached).
    @discardableResult
    public func start() -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let context = Unmanaged.passRetained(body)
        let code = pthread_create(
            &thread, &attributes,
            { pointer in
                guard let pointer else { return nil }
                let body = Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue()
                // pthread_setname_np is hidden behind _GNU_SOURCE; prctl(2) does the same for the calling thread.
                clinux_name_thread(body.name)
                body.run()
                return nil
            }, context.toOpaque())
        if code != 0 { context.release() }
        return code == 0
    }
}
