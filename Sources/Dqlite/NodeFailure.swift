import CDqlite
import Glibc
import Platform

/// Words and remedies for libdqlite's return values: raft's codes (raft.h), its own three, or an errno.
enum NodeFailure {
    /// A failed `dqlite_node_create`, which leaves no message.
    static func create(_ rv: Int32, message: String, directory: String) -> DqliteError {
        let reason: String
        let remedy: String
        switch rv {
        case 6, 12:
            reason = "its files are damaged"
            remedy =
                "keep a copy of the directory, empty it, and let the node join again as a new member;"
                + " a cluster of one needs a backup"
        case 18:
            reason = "it cannot be written: read-only, or no permission"
            remedy = "make it writable for this user, or look at the kernel's log for an error of the disk"
        case 19:
            reason = "it does not exist"
            remedy = "create it"
        case 20:
            reason = "it is not a directory"
            remedy = "name a directory"
        case 22:
            reason = "the file system is full"
            remedy = "free space there: a node needs 25 MB at least"
        case 14:
            reason = "its path is too long"
            remedy = "use a shorter one"
        default:
            reason = text(rv, message)
            remedy = "look at the directory and its permissions"
        }
        return DqliteError(
            .nodeCreate, "the data directory \(directory) cannot be used: \(reason)",
            rawCode: UInt64(truncatingIfNeeded: rv), remedy: remedy)
    }

    /// A failed `dqlite_node_start`. The message is libdqlite's own when it has one.
    static func start(_ rv: Int32, message: String, directory: String) -> DqliteError {
        DqliteError(
            .nodeStart, "the node in \(directory) does not start: \(text(rv, message))",
            rawCode: UInt64(truncatingIfNeeded: rv),
            remedy: rv == EADDRINUSE || rv == EADDRNOTAVAIL
                ? "the address to bind is taken or not on this host"
                : "if its files are damaged: keep a copy, empty the directory, and let it join as a new member")
    }

    /// libdqlite's message, or the meaning of the code when there is none.
    static func text(_ rv: Int32, _ message: String) -> String {
        if !message.isEmpty && message != "raft_bootstrap(): " { return message }
        let meaning =
            switch rv {
            case DQLITE_ERROR: message.isEmpty ? "error without a message" : message + "the log and metadata disagree"
            case DQLITE_MISUSE: "libdqlite refuses the settings"
            case DQLITE_NOMEM: "out of memory"
            case 24...: SystemError.text(of: rv)
            default: "raft code \(rv)"
            }
        return "\(meaning) (rv \(rv))"
    }
}

/// Finds out before libdqlite is asked what it would fail on, because its failures cost the process.
enum NodeConfigurationCheck {
    static func check(_ configuration: DqliteNode.Configuration) throws(DqliteError) {
        func misuse(_ reason: String) -> DqliteError { DqliteError(.misuse, reason) }
        guard configuration.id != 0 else { throw misuse("0 is no node id") }
        guard !configuration.address.isEmpty, !configuration.address.utf8.contains(0) else {
            throw misuse("\"\(configuration.address)\" is no node address")
        }
        let latency = configuration.networkLatency
        guard latency >= .milliseconds(1), latency <= .milliseconds(3_600_000),
            latency == .milliseconds(latency.inMilliseconds)
        else { throw misuse("a network latency of \(latency) is not a whole number of milliseconds, 1 ms to 1 h") }
        guard (configuration.snapshotThreshold == nil) == (configuration.snapshotTrailing == nil) else {
            throw misuse("snapshot threshold and trailing are set together or not at all")
        }
        if let threshold = configuration.snapshotThreshold, let trailing = configuration.snapshotTrailing {
            // libdqlite keeps the log of the last snapshot but one, as a second chance.
            guard trailing >= 4, trailing >= threshold else {
                throw misuse("snapshot trailing \(trailing) is less than 4 or than the threshold \(threshold)")
            }
        }
        try checkDirectory(configuration.directory)
    }

    private static func checkDirectory(_ directory: String) throws(DqliteError) {
        func fails(_ rv: Int32, _ cause: SystemError? = nil) -> DqliteError {
            var error = NodeFailure.create(rv, message: "", directory: directory)
            error.rawCode = nil
            error.cause = cause
            return error
        }
        guard !directory.isEmpty, !directory.utf8.contains(0) else {
            throw DqliteError(.misuse, "\"\(directory)\" is no path of a directory")
        }
        var info = stat()
        guard stat(directory, &info) == 0 else {
            let cause = SystemError.last("look at", directory)
            throw fails(cause.errno == ENOENT ? 19 : cause.errno == ENAMETOOLONG ? 14 : 18, cause)
        }
        guard info.st_mode & S_IFMT == S_IFDIR else { throw fails(20) }
        // For root, and on odd file systems, only trying tells.
        let probe = "\(directory)/.writable.\(getpid())"
        let descriptor = open(probe, O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let cause = SystemError.last("create", probe)
            throw fails(cause.errno == ENOSPC || cause.errno == EDQUOT ? 22 : 18, cause)
        }
        close(descriptor)
        unlink(probe)
    }
}
