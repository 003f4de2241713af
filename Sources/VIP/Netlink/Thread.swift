import CLinux
import Glibc
import Platform

/// Starts a detached thread, for work that waits in system calls. It inherits the network namespace of its creator.
///
/// - Parameters:
///   - name: at most 15 bytes, as `ps -L` shows it.
///   - body: the thread ends when it returns.
/// - Throws: `SystemError` when the system has no thread to give.
func startThread(named name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    final class Work {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let work = Unmanaged.passRetained(
        Work {
            // A name is a help for people; a thread without one does its work all the same.
            _ = clinux_set_thread_name(name)
            body()
        })
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { raw in
            guard let raw else { return nil }
            Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body()
            return nil
        }, work.toOpaque())
    guard code == 0 else {
        work.release()
        throw SystemError("start the thread", name, errno: code)
    }
    pthread_detach(thread)
}
