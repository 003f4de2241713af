import Glibc

/// Work on whole directories by path; what lies in the data directory is reached by an `OpenDirectory`.
public enum Directory {
    /// What is in it, sorted, without `.` and `..`; nil when there is no such directory.
    ///
    /// - Throws: `SystemError` on any other failure.
    public static func names(_ path: String) throws(SystemError) -> [String]? {
        do {
            return try OpenDirectory(path).names()
        } catch {
            guard error.errno == ENOENT else { throw error }
            return nil
        }
    }

    /// Removes a directory with the files in it; it is no error when it is not there. A link is not followed.
    public static func removeWithFiles(_ path: String) throws(SystemError) {
        guard exists(path) else { return }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        try OpenDirectory(OpenDirectory.parent(of: path)).removeWithFiles(name)
    }

    /// Renames within one directory, durably.
    public static func move(_ source: String, to target: String) throws(SystemError) {
        try retryingOnInterrupt("rename \(source) to", target) { rename(source, target) }
        try OpenDirectory(OpenDirectory.parent(of: target)).sync()
    }

    /// Whether there is anything of this name, as far as this user can see.
    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
