import Glibc
import Logging
import Synchronization

/// Sets swift-log up for the process.
enum LogSetup {
    private static let isDone = Mutex(false)

    /// Sends the log of the whole process to standard error. Only the first call of a process counts; swift-log allows no
    /// second.
    /// Lines below `level` are not written. `environment` is that of the process: `JOURNAL_STREAM` in it tells whether
    /// journald reads the log.
    static func bootstrap(level: Logger.Level, format: LogFormat, environment: [String: String]) {
        let isFirst = isDone.withLock { isDone in
            defer { isDone = true }
            return !isDone
        }
        guard isFirst else { return }
        let sink = DescriptorSink()
        let prefix: LogLine.Prefix = isJournal(STDERR_FILENO, environment["JOURNAL_STREAM"]) ? .priority : .time
        LoggingSystem.bootstrap(
            { label, provider in
                var handler = LineLogHandler(label: label, level: level, format: format, prefix: prefix, sink: sink)
                handler.metadataProvider = provider
                return handler
            }, metadataProvider: nil)
    }

    /// Whether a descriptor leads to journald: `JOURNAL_STREAM` holds its device and inode, and a child that writes
    /// elsewhere inherits the variable all the same; see systemd.exec(5).
    static func isJournal(_ descriptor: Int32, _ stream: String?) -> Bool {
        guard let parts = stream?.split(separator: ":", omittingEmptySubsequences: false), parts.count == 2,
            let device = UInt64(parts[0]), let inode = UInt64(parts[1])
        else { return false }
        var status = stat()
        return fstat(descriptor, &status) == 0 && UInt64(status.st_dev) == device && UInt64(status.st_ino) == inode
    }
}
