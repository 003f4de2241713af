import FoundationEssentials
import Platform

/// A disk that takes its time: whatever makes a write of the product durable returns so much later.
///
/// What that is was seen with strace(1). The product and libraft's metadata (term and vote): fsync(2), fdatasync(2). Entries
/// of the log: io_submit(2) on a file opened with O_DSYNC, on libraft's own thread if the file system can do that without
/// waiting, else on a thread beside. Held up on the former, heartbeats would wait for the disk, too, as with no real disk:
/// so the library says that this file system cannot, and holds up the threads beside.
public struct SlowDisk: Sendable {
    /// The variable that puts every laboratory on such a disk: "20ms".
    public static let environmentKey = "DQLITE_VIP_LAB_FSYNC"

    /// What the product must be started with.
    let environment: [String: String]

    /// Compiles the library into `directory`.
    ///
    /// `delay`: how much longer each write takes.
    init(delay: Duration, directory: String) throws {
        let library = try PreloadLibrary("slowdisk", source: Self.source, directory: directory)
        environment = PreloadLibrary.merge(library.environment, ["DVLAB_FSYNC_NS": "\(delay.inNanoseconds)"])
    }

    /// The disk that `environmentKey` asks for; nil when it asks for none.
    ///
    /// - Throws: `LabError` when the variable says no time.
    static func asked(directory: String) throws -> SlowDisk? {
        guard let delay = try delay(ProcessInfo.processInfo.environment[environmentKey]) else { return nil }
        return try SlowDisk(delay: delay, directory: directory)
    }

    /// Takes milliseconds as "20ms"; nil and "" mean none, as does "0ms".
    static func delay(_ text: String?) throws(LabError) -> Duration? {
        guard let text, !text.isEmpty else { return nil }
        guard text.hasSuffix("ms"), let number = Int64(text.dropLast(2)), (0...10_000).contains(number) else {
            throw LabError("\(environmentKey)=\(text): write a time from 0ms to 10000ms, for instance 20ms")
        }
        return number == 0 ? nil : .milliseconds(number)
    }

    private static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <linux/aio_abi.h>
        #include <linux/fs.h>
        #include <stdarg.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>

        static struct timespec delay;

        __attribute__((constructor)) static void start(void)
        {
            const char *text = getenv("DVLAB_FSYNC_NS");
            long long time = text ? atoll(text) : 0;
            delay.tv_sec = time / 1000000000;
            delay.tv_nsec = time % 1000000000;
        }

        static void take_time(void)
        {
            int before = errno;
            struct timespec rest = delay;
            while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {}
            errno = before;
        }

        int fsync(int file)
        {
            static int (*next)(int);
            if (!next) next = dlsym(RTLD_NEXT, "fsync");
            int result = next(file);
            take_time();
            return result;
        }

        int fdatasync(int file)
        {
            static int (*next)(int);
            if (!next) next = dlsym(RTLD_NEXT, "fdatasync");
            int result = next(file);
            take_time();
            return result;
        }

        long syscall(long number, ...)
        {
            static long (*next)(long, ...);
            if (!next) next = dlsym(RTLD_NEXT, "syscall");
            long a[6];
            va_list list;
            va_start(list, number);
            for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
            va_end(list);
            if (number == SYS_io_submit) {
                struct iocb **requests = (struct iocb **)a[2];
                for (long i = 0; i < a[1]; i++) {
                    if (requests[i]->aio_rw_flags & RWF_NOWAIT) {
                        errno = EOPNOTSUPP;
                        return -1;
                    }
                }
                take_time();
            }
            return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        }

        """
}
