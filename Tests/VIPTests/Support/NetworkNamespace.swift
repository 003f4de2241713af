import CLinux
import Glibc
import Platform
import Synchronization

/// A network namespace of its own for a test, held by one thread; it vanishes with the thread and the sockets made in it.
///
/// Network namespaces belong to threads, so tests run in parallel. Everything that shall be in the namespace is made inside
/// `run`: sockets, threads and child processes. What was made there stays there, and is then used from anywhere.
final class NetworkNamespace: Sendable {
    private struct Queue {
        var jobs: [@Sendable () -> Void] = []
        var isClosed = false
    }

    private let queue = Mutex(Queue())
    private let wakeUp: Int32

    fileprivate init() throws {
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC | EFD_SEMAPHORE))
        guard wakeUp >= 0 else { throw SystemError.last("open an eventfd") }
    }

    deinit { Glibc.close(wakeUp) }

    /// Runs `body` on the namespace's thread and hands back its result.
    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let accepted = queue.withLock { queue in
                if !queue.isClosed { queue.jobs.append { continuation.resume(with: Swift.Result { try body() }) } }
                return !queue.isClosed
            }
            if accepted {
                signal()
            } else {
                continuation.resume(throwing: SystemError("use a network namespace after its end", errno: EBADF))
            }
        }
    }

    /// Runs a command to its end in the namespace and hands back its standard output, for example `"ip", "-o", "addr"`.
    ///
    /// - Throws: `CommandFailure` when it cannot start or exits with another status than 0.
    @discardableResult
    func command(_ arguments: String...) async throws -> String {
        try await run { try runCommand(arguments) }
    }

    /// Runs each line as one command, split at spaces; empty lines are skipped.
    func script(_ lines: String) async throws {
        for line in lines.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if !words.isEmpty { _ = try await run { try runCommand(words) } }
        }
    }

    /// A name under which `ip link set … netns` finds this namespace: the id of its thread.
    func threadIdentifier() async throws -> String {
        try await run { String(clinux_thread_id()) }
    }

    fileprivate func close() {
        queue.withLock { $0.isClosed = true }
        signal()
    }

    private func signal() {
        var one: UInt64 = 1
        _ = write(wakeUp, &one, 8)
    }

    /// The life of the thread: jobs in order until closed and empty.
    fileprivate func serve() {
        while true {
            var count: UInt64 = 0
            _ = read(wakeUp, &count, 8)
            let (job, isClosed) = queue.withLock { queue in
                (queue.jobs.isEmpty ? nil : queue.jobs.removeFirst(), queue.isClosed)
            }
            if let job { job() } else if isClosed { return }
        }
    }
}

/// Gives the test a new network namespace with the loopback interface up, and takes it away at the end.
///
/// - Throws: what `body` throws; and `SystemError` when the process may not make namespaces: run the tests as root.
@discardableResult
func withNetworkNamespace<Result: Sendable>(
    _ body: (NetworkNamespace) async throws -> Result
) async throws -> Result {
    let namespace = try NetworkNamespace()
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let start = ThreadStart { [namespace] in
            guard clinux_unshare_network() == 0 else {
                continuation.resume(
                    throwing: SystemError.last("make a network namespace", remedy: "run the tests as root"))
                return
            }
            continuation.resume()
            namespace.serve()
        }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<ThreadStart>.fromOpaque(raw).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        guard code == 0 else {
            continuation.resume(throwing: SystemError("start a thread for a network namespace", errno: code))
            return
        }
        pthread_detach(thread)
    }
    defer { namespace.close() }
    try await namespace.command("ip", "link", "set", "lo", "up")
    return try await body(namespace)
}

private final class ThreadStart: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
