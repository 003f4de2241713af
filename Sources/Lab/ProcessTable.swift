import CLinux
import Glibc
import Platform

/// What /proc says about processes; see proc(5). A process that ends meanwhile is simply no longer there.
public enum ProcessTable {
    /// The direct children of a process, oldest first.
    public static func children(of pid: pid_t) -> [pid_t] {
        entries(of: "/proc/\(pid)/task").flatMap { task in
            text("/proc/\(pid)/task/\(task)/children").split(separator: " ").compactMap { pid_t($0) }
        }
    }

    /// The process and everything below it, parents first.
    public static func tree(of pid: pid_t) -> [pid_t] {
        [pid] + children(of: pid).flatMap { tree(of: $0) }
    }

    /// The state letter of /proc/PID/stat ("R", "S", "T" stopped, "Z" zombie); nil when there is no such process.
    public static func state(of pid: pid_t) -> Character? {
        // The name stands in parentheses and may hold any character: the state is what follows the last one.
        let line = text("/proc/\(pid)/stat")
        guard let end = line.lastIndex(of: ")") else { return nil }
        return line[end...].dropFirst(2).first
    }

    /// Exists, and is not just waiting to be reaped.
    ///
    /// A main thread that has ended says nothing yet: sockets and files are open until the last thread has ended, and
    /// with asynchronous I/O that takes some 40 ms after a SIGKILL.
    public static func isAlive(_ pid: pid_t) -> Bool {
        guard let state = state(of: pid) else { return false }
        return state != "Z" && state != "X" || entries(of: "/proc/\(pid)/task").count > 1
    }

    /// Processes in the network namespace with this inode number, those left out that only wait to be reaped.
    static func processes(inNetworkNamespace inode: ino_t) -> [pid_t] {
        func isThere(_ path: String) -> Bool? {
            var information = stat()
            return stat(path, &information) == 0 ? information.st_ino == inode : nil
        }
        return entries(of: "/proc").compactMap { pid_t($0) }.filter { pid in
            // A main thread that has ended has no namespace any more; then its other threads tell.
            let main = isThere("/proc/\(pid)/ns/net")
            return main == true && isAlive(pid)
                || main == nil
                    && entries(of: "/proc/\(pid)/task").contains { isThere("/proc/\(pid)/task/\($0)/ns/net") == true }
        }
    }

    /// CPU time that a process used so far, all its threads together, ended ones too; nil when it is gone.
    ///
    /// From the process's CPU clock, see clock_getcpuclockid(3): in nanoseconds, and not in ticks as /proc/PID/stat.
    public static func processorTime(of pid: pid_t) -> Duration? {
        var clock = clockid_t()
        var time = timespec()
        guard clock_getcpuclockid(pid, &clock) == 0, clock_gettime(clock, &time) == 0 else { return nil }
        return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
    }

    /// Memory of a process in KiB.
    public struct Memory: Sendable {
        /// Resident pages, those shared with other processes counted fully.
        public var resident: Int
        /// Resident pages, shared ones divided by the number of processes that share them.
        public var proportional: Int
        /// Pages of the process's own, which are of no file and shared with nobody.
        public var anonymous: Int
    }

    /// From /proc/PID/smaps_rollup; nil when the process is gone.
    public static func memory(of pid: pid_t) -> Memory? {
        let lines = text("/proc/\(pid)/smaps_rollup").split(separator: "\n")
        func field(_ name: String) -> Int? {
            lines.first { $0.hasPrefix(name) }?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        }
        guard let resident = field("Rss:"), let proportional = field("Pss:"),
            let anonymous = field("Anonymous:")
        else { return nil }
        return Memory(resident: resident, proportional: proportional, anonymous: anonymous)
    }

    /// The most memory that a process had resident since its start or the last `forgetPeak`, in KiB: VmHWM of /proc/PID/status.
    /// nil when it is gone.
    public static func peakMemory(of pid: pid_t) -> Int? {
        let line = text("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return line?.split(separator: " ").compactMap { Int($0) }.first
    }

    /// Lets the peak begin anew at what is resident now: "5" in /proc/PID/clear_refs, see proc(5).
    public static func forgetPeak(of pid: pid_t) throws(SystemError) {
        try writeSetting("/proc/\(pid)/clear_refs", "5")
    }

    static func entries(of directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    static func text(_ path: String, limit: Int = 1 << 20) -> String {
        // Nothing but "the process is gone" makes these files unreadable to root.
        let bytes = (try? DurableFile.read(path, limit: limit)) ?? []
        return String(decoding: bytes, as: UTF8.self)
    }
}
