import Glibc

/// How soon threads run on which others wait, as nice values; see nice(7) and sched(7).
///
/// `raised` and `urgent` are real-time, where that is allowed (SCHED_RR): such a thread runs when it wakes up, whatever else
/// there is to do. Nice values alone did not do it. Where the kernel groups processes (by session, or by control group) they
/// count within the group only, so that a heartbeat waited behind compilers for longer than a lease. These threads need
/// microseconds at a time; should one run away, the kernel leaves 5 % of the time to others (`sched_rt_runtime_us`).
public enum ThreadPriority {
    /// For those on which it depends how soon an address is gone, or there: before all others on a busy machine.
    public static let urgent: Int32 = -10
    /// For those that carry raft: they need little, but a heartbeat that waits behind other work costs the lead.
    public static let raised: Int32 = -8

    private static let thisThread = __priority_which_t(PRIO_PROCESS.rawValue)
    /// SCHED_RESET_ON_FORK of sched(7), a GNU extension to the headers.
    private static let resetOnFork: Int32 = 0x4000_0000

    /// The nice value of the calling thread.
    public static var current: Int32 { getpriority(thisThread, 0) }

    /// Whether the calling thread is real-time.
    public static var isRealTime: Bool { sched_getscheduler(0) & ~resetOnFork == SCHED_RR }

    /// Sets it for the calling thread, where that is allowed (CAP_SYS_NICE, and no `RestrictRealtime`); otherwise it stays as
    /// it is.
    ///
    /// - Parameter isInherited: threads that it makes are real-time, too. Not so by default: the pools of Dispatch and Swift
    ///   get their threads from whoever needs one first. What is not real-time passes its nice value on in any case.
    public static func set(_ nice: Int32, isInherited: Bool = false) {
        var parameters = sched_param()
        var policy = SCHED_OTHER
        if nice <= raised {
            parameters.sched_priority = nice <= urgent ? 2 : 1
            policy = SCHED_RR | (isInherited ? 0 : resetOnFork)
        }
        sched_setscheduler(0, policy, &parameters)
        // What counts where real time is refused.
        setpriority(thisThread, 0, nice)
    }
}
