import Platform

/// Makes each fsync(2) of a process slower, by LD_PRELOAD: stands in for a slow disk, which the kernel here cannot imitate.
/// What libraft writes itself it does not slow down.
public struct SlowSync: Sendable {
    private let library: String

    /// Compiles the library in a directory.
    public init(in directory: String) throws {
        library = "\(directory)/slow-sync.so"
        let source = "\(directory)/slow-sync.c"
        try DurableFile.write(Array(Self.code.utf8), to: source)
        // It comes with Swift.
        try ToolCommand.check(["clang", "-shared", "-fPIC", "-o", library, source])
    }

    /// What a process must be started with.
    public func environment(_ delay: Duration) -> [String: String] {
        ["LD_PRELOAD": library, Self.variable: "\(delay.inMilliseconds)"]
    }

    private static let variable = "SLOW_SYNC_MS"
    private static let code = """
        #define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>

        int fsync(int descriptor) {
            const char *text = getenv("\(variable)");
            long delay = text ? atol(text) : 0;
            struct timespec time = {delay / 1000, delay % 1000 * 1000000};
            nanosleep(&time, 0);
            return (int)syscall(SYS_fsync, descriptor);
        }

        """
}
