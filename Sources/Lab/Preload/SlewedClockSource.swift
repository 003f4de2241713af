extension SlewedClock {
    /// For each of the two clocks the file has a course: straight on before and after the change of its rate.
    static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <fcntl.h>
        #include <poll.h>
        #include <stdint.h>
        #include <stdlib.h>
        #include <sys/epoll.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/timerfd.h>
        #include <time.h>
        #include <unistd.h>

        #define SECOND 1000000000ll
        #define NEXT(name) static __typeof__(&name) next; if (!next) next = dlsym(RTLD_NEXT, #name)

        struct course { int64_t real, own, before, after; };
        struct page { int64_t number; struct course courses[2]; };
        static const volatile struct page *page;

        /* Which clock a timerfd goes by, plus one. */
        static unsigned char timer_clocks[65536];

        __attribute__((constructor)) static void start(void)
        {
            const char *path = getenv("DVLAB_SLEWED");
            int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
            if (file < 0) return;
            void *found = mmap(0, sizeof(struct page), PROT_READ, MAP_SHARED, file, 0);
            if (found != MAP_FAILED) page = found;
            close(file);
        }

        /* -1 for a clock that is not slewed. */
        static int which(clockid_t clock)
        {
            if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) return 0;
            return clock == CLOCK_BOOTTIME ? 1 : -1;
        }

        static struct course course(int index)
        {
            struct course found = {0, 0, 0, 0};
            if (!page || index < 0) return found;
            for (;;) {
                int64_t number = page->number;
                __sync_synchronize();
                found = (struct course){page->courses[index].real, page->courses[index].own,
                                        page->courses[index].before, page->courses[index].after};
                __sync_synchronize();
                if (number % 2 == 0 && number == page->number) return found;
            }
        }

        static int64_t scaled(int64_t time, int64_t times, int64_t by) { return (__int128)time * times / by; }

        static int64_t own_of_real(struct course c, int64_t time)
        {
            int64_t rate = time < c.real ? c.before : c.after;
            return c.own + scaled(time - c.real, 1000000 + rate, 1000000);
        }

        static int64_t real_of_own(struct course c, int64_t time)
        {
            int64_t rate = time < c.own ? c.before : c.after;
            return c.real + scaled(time - c.own, 1000000, 1000000 + rate);
        }

        static int64_t real_now(clockid_t clock)
        {
            struct timespec time;
            syscall(SYS_clock_gettime, clock, &time);
            return time.tv_sec * SECOND + time.tv_nsec;
        }

        /* How long a wait of the node's clock takes by the kernel's. */
        static int64_t real_wait(int64_t wait)
        {
            struct course c = course(0);
            return scaled(wait, 1000000, 1000000 + (real_now(CLOCK_MONOTONIC) < c.real ? c.before : c.after));
        }

        static int64_t nanoseconds(struct timespec time) { return time.tv_sec * SECOND + time.tv_nsec; }
        static struct timespec timespec_of(int64_t time) { return (struct timespec){time / SECOND, time % SECOND}; }

        /* Rounded up: never awake too early. */
        static int real_milliseconds(int wait)
        {
            return wait <= 0 ? wait : (int)((real_wait(wait * 1000000ll) + 999999) / 1000000);
        }

        int clock_gettime(clockid_t clock, struct timespec *time)
        {
            NEXT(clock_gettime);
            int result = next ? next(clock, time) : syscall(SYS_clock_gettime, clock, time);
            if (result == 0 && page && which(clock) >= 0)
                *time = timespec_of(own_of_real(course(which(clock)), nanoseconds(*time)));
            return result;
        }

        int timerfd_create(clockid_t clock, int flags)
        {
            NEXT(timerfd_create);
            int timer = next(clock, flags);
            if (timer >= 0 && timer < 65536) timer_clocks[timer] = clock + 1;
            return timer;
        }

        int timerfd_settime(int timer, int flags, const struct itimerspec *new, struct itimerspec *old)
        {
            NEXT(timerfd_settime);
            int index = timer >= 0 && timer < 65536 && timer_clocks[timer] ? which(timer_clocks[timer] - 1) : -1;
            if (!page || index < 0) return next(timer, flags, new, old);
            int64_t value = nanoseconds(new->it_value);
            if (value > 0) {
                value = flags & TFD_TIMER_ABSTIME ? real_of_own(course(index), value) : real_wait(value);
                if (value < 1) value = 1;
            }
            struct itimerspec real = {timespec_of(real_wait(nanoseconds(new->it_interval))), timespec_of(value)};
            return next(timer, flags, &real, old);
        }

        int nanosleep(const struct timespec *wait, struct timespec *rest)
        {
            NEXT(nanosleep);
            struct timespec real = page ? timespec_of(real_wait(nanoseconds(*wait))) : *wait;
            return next(&real, rest);
        }

        int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wait, struct timespec *rest)
        {
            NEXT(clock_nanosleep);
            int index = which(clock);
            if (!page || index < 0) return next(clock, flags, wait, rest);
            int64_t time = nanoseconds(*wait);
            struct timespec real =
                timespec_of(flags & TIMER_ABSTIME ? real_of_own(course(index), time) : real_wait(time));
            return next(clock, flags, &real, rest);
        }

        int epoll_wait(int set, struct epoll_event *events, int count, int wait)
        {
            NEXT(epoll_wait);
            return next(set, events, count, page ? real_milliseconds(wait) : wait);
        }

        int epoll_pwait(int set, struct epoll_event *events, int count, int wait, const sigset_t *mask)
        {
            NEXT(epoll_pwait);
            return next(set, events, count, page ? real_milliseconds(wait) : wait, mask);
        }

        int poll(struct pollfd *polled, nfds_t count, int wait)
        {
            NEXT(poll);
            return next(polled, count, page ? real_milliseconds(wait) : wait);
        }

        int ppoll(struct pollfd *polled, nfds_t count, const struct timespec *wait, const sigset_t *mask)
        {
            NEXT(ppoll);
            struct timespec real = page && wait ? timespec_of(real_wait(nanoseconds(*wait))) : (struct timespec){0, 0};
            return next(polled, count, page && wait ? &real : wait, mask);
        }

        """
}
