import Platform

/// Moves the wall clock of one node's processes, and of nobody else: the machine has one CLOCK_REALTIME for all, and a time
/// namespace shifts only the clocks that never step.
///
/// A preloaded library adds a number of seconds from a shared file to what clock_gettime(2), gettimeofday(2) and time(2) say.
/// All other clocks stay what they are. Sleeps until a point in wall time are not moved with it.
struct WallClockShift: Sendable {
    private let library: PreloadLibrary
    private let file: String

    /// Compiles the library into `directory`; the time is right at first.
    init(directory: String) throws {
        library = try PreloadLibrary("wallclock", source: Self.source, directory: directory)
        file = "\(directory)/wallclock"
        try set(seconds: 0)
    }

    /// What the product must be started with.
    var environment: [String: String] { PreloadLibrary.merge(library.environment, ["DVLAB_WALLCLOCK": file]) }

    /// At once, also for processes that run.
    func set(seconds: Int64) throws {
        // Fixed length and written in place: the processes have the file mapped.
        let digits = String(seconds.magnitude)
        let zeros = String(repeating: "0", count: max(0, 15 - digits.count))
        try overwriteFile((seconds < 0 ? "-" : "+") + zeros + digits, at: file)
    }

    private static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>

        static const volatile char *shift;
        static int (*other_clocks)(clockid_t, struct timespec *);

        __attribute__((constructor)) static void start(void)
        {
            const char *path = getenv("DVLAB_WALLCLOCK");
            int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
            if (file >= 0) {
                void *page = mmap(0, 16, PROT_READ, MAP_SHARED, file, 0);
                if (page != MAP_FAILED) shift = page;
                close(file);
            }
            other_clocks = dlsym(RTLD_NEXT, "clock_gettime");
        }

        static time_t seconds(void)
        {
            time_t sum = 0;
            if (!shift) return 0;
            for (int i = 1; i < 16; i++) sum = sum * 10 + (shift[i] - '0');
            return shift[0] == '-' ? -sum : sum;
        }

        int clock_gettime(clockid_t clock, struct timespec *time)
        {
            if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && other_clocks)
                return other_clocks(clock, time);
            int result = syscall(SYS_clock_gettime, clock, time);
            if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += seconds();
            return result;
        }

        int gettimeofday(struct timeval *restrict now, void *restrict zone)
        {
            struct timespec time;
            (void)zone;
            clock_gettime(CLOCK_REALTIME, &time);
            if (now) {
                now->tv_sec = time.tv_sec;
                now->tv_usec = time.tv_nsec / 1000;
            }
            return 0;
        }

        time_t time(time_t *out)
        {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (out) *out = now.tv_sec;
            return now.tv_sec;
        }

        """
}
