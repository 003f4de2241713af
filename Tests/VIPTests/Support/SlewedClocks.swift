import Glibc
import Platform

/// Processes for which CLOCK_MONOTONIC and CLOCK_BOOTTIME run faster or slower, as NTP slews them; CLOCK_MONOTONIC_RAW stays what
/// it is.
///
/// A machine has one clock for all, so this is done by a library that is preloaded (ld.so(8)). It cannot slew what the kernel
/// itself does with its clock. But it turns the times for which timers are set (timerfd_settime(2)) into those of the kernel's
/// clock, which comes to the same: such a timer fires when the slewed clock is there. Other sleeps (poll(2), futex(2), usleep(3))
/// are not slewed.
final class SlewedClocks: Sendable {
    private let directory: String
    private let library: String
    private let rate: String

    /// - Parameter millionths: by how much the clocks run faster than the oscillator; −83,333 is what chrony does at most.
    init(millionths: Int) throws {
        var template = Array("/tmp/slewed-clocks-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        library = directory + "/libslewed.so"
        rate = String(millionths)
        try DurableFile.write(Array(Self.source.utf8), to: directory + "/slewed.c")
        _ = try runCommand(["clang", "-shared", "-fPIC", "-O1", "-o", library, directory + "/slewed.c", "-ldl"])
    }

    deinit {
        for name in ["libslewed.so", "slewed.c"] { unlink(directory + "/" + name) }
        rmdir(directory)
    }

    /// What a process must be started with.
    var environment: [String: String] { ["LD_PRELOAD": library, "DQVIP_SLEW": rate] }

    /// Whether the library is in the process.
    func isLoaded(in process: pid_t) throws -> Bool {
        try runCommand(["cat", "/proc/\(process)/maps"]).contains(library)
    }

    // With s for the slew, m and b for the kernel's clocks and M and B for what the process sees: M = m + s·m and B = b + s·m. So
    // B − M is b − m, as in a kernel. b is read before m, so that B is never too large.
    private static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <stdlib.h>
        #include <sys/timerfd.h>
        #include <time.h>

        typedef long long ns;

        static long double slew;
        static signed char clocks[4096];
        static int (*gettime)(clockid_t, struct timespec *);
        static int (*create)(int, int);
        static int (*settime)(int, int, const struct itimerspec *, struct itimerspec *);

        __attribute__((constructor)) static void start(void)
        {
            const char *rate = getenv("DQVIP_SLEW");
            gettime = dlsym(RTLD_NEXT, "clock_gettime");
            create = dlsym(RTLD_NEXT, "timerfd_create");
            settime = dlsym(RTLD_NEXT, "timerfd_settime");
            slew = (rate ? atoi(rate) : 0) / 1e6L;
        }

        static ns in_ns(struct timespec time) { return time.tv_sec * 1000000000LL + time.tv_nsec; }

        static struct timespec from_ns(ns time)
        {
            return (struct timespec){.tv_sec = time / 1000000000LL, .tv_nsec = time % 1000000000LL};
        }

        static ns kernel(clockid_t clock)
        {
            struct timespec time;
            gettime(clock, &time);
            return in_ns(time);
        }

        int clock_gettime(clockid_t clock, struct timespec *time)
        {
            if (!gettime) start();
            if (clock != CLOCK_BOOTTIME && clock != CLOCK_MONOTONIC) return gettime(clock, time);
            ns is = kernel(clock);
            ns monotonic = clock == CLOCK_MONOTONIC ? is : kernel(CLOCK_MONOTONIC);
            *time = from_ns(is + (ns)(slew * monotonic));
            return 0;
        }

        int timerfd_create(int clock, int flags)
        {
            if (!create) start();
            int descriptor = create(clock, flags);
            if (descriptor >= 0 && descriptor < 4096) clocks[descriptor] = clock;
            return descriptor;
        }

        int timerfd_settime(int descriptor, int flags, const struct itimerspec *new, struct itimerspec *old)
        {
            if (!settime) start();
            int clock = descriptor >= 0 && descriptor < 4096 ? clocks[descriptor] : CLOCK_REALTIME;
            ns time = in_ns(new->it_value);
            if ((clock != CLOCK_BOOTTIME && clock != CLOCK_MONOTONIC) || time == 0)
                return settime(descriptor, flags, new, old);
            ns ahead = clock == CLOCK_BOOTTIME ? kernel(CLOCK_BOOTTIME) - kernel(CLOCK_MONOTONIC) : 0;
            if (!(flags & TFD_TIMER_ABSTIME)) ahead = 0;
            time = (ns)((time + slew * ahead) / (1 + slew));
            struct itimerspec turned = {.it_interval = new->it_interval, .it_value = from_ns(time > 0 ? time : 1)};
            return settime(descriptor, flags, &turned, old);
        }

        """
}
