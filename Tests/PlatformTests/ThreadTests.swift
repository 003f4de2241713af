import Dispatch
import Glibc
import Platform
import Synchronization
import Testing

@Suite struct BlockingThreadTests {
    @Test("work runs on a thread of its own, named, with all signals blocked but those of its own faults")
    func thread() async throws {
        let here = pthread_self()
        let (there, name, blocked) = try await BlockingThread.run(named: "a name that is too long") {
            var mask = sigset_t()
            pthread_sigmask(SIG_SETMASK, nil, &mask)
            let name = try DurableFile.read("/proc/thread-self/comm") ?? []
            let blocked = [SIGTERM, SIGCHLD, SIGPIPE, SIGSEGV, SIGABRT].filter { sigismember(&mask, $0) == 1 }
            return (pthread_self(), String(decoding: name, as: UTF8.self), blocked)
        }
        #expect(there != here)
        #expect(name == "a name that is \n")
        #expect(blocked == [SIGTERM, SIGCHLD, SIGPIPE])
    }

    @Test("starting a thread leaves the caller's signal mask as it was")
    func mask() throws {
        func isBlocked(_ signal: Int32) -> Bool {
            var mask = sigset_t()
            pthread_sigmask(SIG_SETMASK, nil, &mask)
            return sigismember(&mask, signal) == 1
        }
        let before = (1..<32).map(isBlocked)
        try BlockingThread.start(named: "mask") {}
        #expect((1..<32).map(isBlocked) == before)
    }

    /// What a thread finds that the calling one has made.
    private static func seenByAnother() throws -> (isRealTime: Bool, nice: Int32) {
        let seen = Mutex<(Bool, Int32)?>(nil)
        let done = DispatchSemaphore(value: 0)
        try BlockingThread.start(named: "child") {
            seen.withLock { $0 = (ThreadPriority.isRealTime, ThreadPriority.current) }
            done.signal()
        }
        done.wait()
        return try #require(seen.withLock { $0 })
    }

    @Test(
        "an urgent thread is real-time, those that it makes and a raised one are not, and it can go back",
        .enabled(if: geteuid() == 0, "real time needs CAP_SYS_NICE"))
    func realTime() async throws {
        try await BlockingThread.run(named: "priority") { () throws in
            let before = ThreadPriority.current
            #expect(!ThreadPriority.isRealTime)
            ThreadPriority.set(ThreadPriority.urgent)
            #expect(ThreadPriority.isRealTime && ThreadPriority.current == ThreadPriority.urgent)
            #expect(try !Self.seenByAnother().isRealTime)
            ThreadPriority.set(ThreadPriority.raised)
            #expect(!ThreadPriority.isRealTime && ThreadPriority.current == ThreadPriority.raised)
            ThreadPriority.set(before)
            #expect(ThreadPriority.current == before)
        }
    }

    @Test("what the work throws is thrown, and many blocked threads do not stop other tasks")
    func errors() async throws {
        await #expect(throws: SystemError("x", errno: 1)) {
            try await BlockingThread.run(named: "throws") { throw SystemError("x", errno: 1) }
        }
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<32 {
                group.addTask {
                    try await BlockingThread.run(named: "blocked") {
                        usleep(100_000)
                        return index
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 496)
    }

    @Test("who joins a thread waits for its end, and a thread can be less urgent than its maker")
    func join() throws {
        let seen = Mutex<Int32?>(nil)
        let process = __priority_which_t(PRIO_PROCESS.rawValue)
        let thread = try OwnThread("join", nice: 7) {
            usleep(50_000)
            let nice = getpriority(process, 0)
            seen.withLock { $0 = nice }
        }
        thread.join()
        #expect(seen.withLock { $0 } == 7)
    }
}
