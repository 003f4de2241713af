import Glibc
import Synchronization

/// Runs async work from a synchronous command, with the calling thread asleep until it is done.
///
/// Commands are synchronous because `start` must fork before the runtime has a second thread. For the same reason nothing
/// in this program may use the main actor: its thread is the one that sleeps here.
func blockingRun<Value: Sendable>(_ work: @escaping @Sendable () async throws -> Value) throws -> Value {
    let outcome = Outcome<Value>()
    Task.detached {
        do {
            outcome.set(.success(try await work()))
        } catch {
            outcome.set(.failure(error))
        }
    }
    return try outcome.wait().get()
}

/// A result and the semaphore that tells of it.
///
/// `@unchecked Sendable`: `result` is behind a mutex, and a POSIX semaphore may be posted and awaited from any thread; its
/// memory is allocated once and freed when neither side has a reference any more.
private final class Outcome<Value: Sendable>: @unchecked Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() {
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func set(_ value: Result<Value, any Error>) {
        result.withLock { $0 = value }
        sem_post(semaphore)
    }

    func wait() -> Result<Value, any Error> {
        while true {
            if let value = result.withLock({ $0 }) { return value }
            sem_wait(semaphore)
        }
    }
}
