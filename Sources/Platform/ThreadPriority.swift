import Glibc

/// How soon threads run on which others wait, as nice values and real time; see nice(7) and sched(7).
///
/// `urgent` is real-time, where that is allowed (SCHED_RR): such a thread runs when it wakes up, whatever else there is to
/// do. Nice values alone did not do it. Where the kernel groups processes (by session, or by control group) they count within
/// the group only, so that a heartbeat waited behind compilers for longer than a lease. These threads need microseconds at a
/// time; should one run away, the kernel leaves 5 % of the time to others (`sched_rt_runtime_us`).
///
/// `raised` is not, since that would cost an idle node nearly as much again: each message wakes up some of these threads, and
/// the kernel looks for a processor for a real-time one at once.
public enum ThreadPriority {
    /// For those on which it depends how soon an address is gone, or there: before all others on a busy machine.
    public static let urgent: Int32 = -10
    /// For those that carry raft: they need little, but a heartbeat that waits behind other work costs the lead.
    public static let raised: Int32 = -8

    private static let thisThread = __priority_which_t(PRIO_PROCESS.rawValue)
    /// SCHED_RESET_ON_FORK of sched(7), a GNU extension to the headers: the pools of Dispatch and Swift get their threads from
    /// whoever needs one first, and those are not to be real-time.
    private static let resetOnFork: Int32 = 0x4000_0000

    /// The nice value of the calling thread.
    public static var current: Int32 { getpriority(thisThread, 0) }

    /// Whether the calling thread is real-time.
    public static var isRealTime: Bool { sched_getscheduler(0) & ~resetOnFork == SCHED_RR }

    /// Sets it for the calling thread, where that is allowed (CAP_SYS_NICE, and no `RestrictRealtime`); otherwise it stays as
    /// it is. Threads that it makes are not real-time.
    public static func set(_ nice: Int32) {
        var parameters = sched_param()
        parameters.sched_priority = nice <= urgent ? 2 : 0
        sched_setscheduler(0, nice <= urgent ? SCHED_RR | resetOnFork : SCHED_OTHER, &parameters)
        // What counts where real time is refused.
        setpriority(thisThread, 0, nice)
    }
}
