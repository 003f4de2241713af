import Glibc

/// The nice value of threads on which others wait; see nice(7).
public enum ThreadPriority {
    /// For those on which it depends how soon an address is gone, or there: before all others on a busy machine.
    public static let urgent: Int32 = -10
    /// For those that carry raft: they need little, but a heartbeat that waits behind other work costs the lead.
    public static let raised: Int32 = -8

    private static let thisThread = __priority_which_t(PRIO_PROCESS.rawValue)

    /// Of the calling thread, which the threads and processes that it makes inherit.
    public static var current: Int32 { getpriority(thisThread, 0) }

    /// Sets it for the calling thread, where that is allowed (CAP_SYS_NICE); otherwise it stays as it is.
    public static func set(_ nice: Int32) { setpriority(thisThread, 0, nice) }
}
