import CLinux
import Glibc

/// What this process may do and what it may leave behind, given up before it meets anybody: to be called on the first thread
/// before there are others, since the kernel keeps all of it but the core limits for each thread by itself.
public enum ProcessRights {
    /// Lets developers have a core: with any value but an empty one nothing is done about cores.
    public static let coresVariable = "DQLITE_VIP_ALLOW_CORE"

    /// Sees to it that this process leaves no core, which would hold secrets: PR_SET_DUMPABLE 0 of prctl(2), also for what
    /// `core_pattern` gives cores to, and RLIMIT_CORE 0 for what is started from here until it does the same.
    ///
    /// With that nobody but root can look into the process either (ptrace(2), most of /proc/PID); its files there belong to root.
    ///
    /// - Returns: what could not be done.
    public static func refuseCores() -> [SystemError] {
        if let value = getenv(coresVariable), value.pointee != 0 { return [] }
        var faults: [SystemError] = []
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        if setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none) != 0 { faults.append(.last("forbid cores")) }
        if clinux_set_dumpable(0) != 0 { faults.append(.last("keep this process from being dumped")) }
        return faults
    }

    /// Keeps of the capabilities what is needed, and has no program that is started gain any.
    ///
    /// What the process does not have it cannot lose: in a hardened unit or a container little or nothing happens here. The
    /// bounding set needs CAP_SETPCAP, which a process without root seldom has; with PR_SET_NO_NEW_PRIVS it bounds nothing that
    /// could still be gained.
    ///
    /// - Parameter startsPrograms: see `Capabilities.reduced`.
    /// - Returns: what could not be done; the process has more rights than it needs then.
    public static func reduce(startsPrograms: Bool) -> [SystemError] {
        var faults: [SystemError] = []
        if clinux_gain_no_privileges() != 0 { faults.append(.last("give up gaining privileges")) }
        do throws(SystemError) {
            let present = try Capabilities.current()
            let wanted = present.reduced(startsPrograms: startsPrograms)
            for number in present.bounds(beyond: wanted) where clinux_drop_bounding_capability(number) != 0 {
                if errno != EPERM { faults.append(.last("take from the bounding set the capability", "\(number)")) }
            }
            try retryingOnInterrupt("give up capabilities") {
                clinux_set_capabilities(wanted.effective, wanted.permitted, wanted.inheritable)
            }
        } catch {
            faults.append(error)
        }
        return faults
    }
}
