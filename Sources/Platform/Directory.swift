import Glibc

/// Work on whole directories.
public enum Directory {
    /// What is in it, sorted, without `.` and `..`; nil when there is no such directory.
    ///
    /// - Throws: `SystemError` on any other failure.
    public static func names(_ path: String) throws(SystemError) -> [String]? {
        guard let directory = opendir(path) else {
            if Glibc.errno == ENOENT { return nil }
            throw SystemError.last("read the directory", path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            Glibc.errno = 0
            guard let entry = readdir(directory) else { break }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        if Glibc.errno != 0 { throw SystemError.last("read the directory", path) }
        return names.sorted()
    }

    /// Copies the files of a directory that has no others below it, durably; `target` must not be there.
    ///
    /// - Throws: `SystemError` that names the file; part of the copy may be there then.
    public static func copyFiles(of source: String, to target: String) throws(SystemError) {
        try retryingOnInterrupt("create", target) { mkdir(target, 0o700) }
        for name in try names(source) ?? [] { try copy("\(source)/\(name)", to: "\(target)/\(name)") }
        try sync(target)
        try sync(parent(of: target))
    }

    /// Removes a directory with the files in it; it is no error when it is not there.
    public static func removeWithFiles(_ path: String) throws(SystemError) {
        guard let names = try names(path) else { return }
        for name in names where unlink("\(path)/\(name)") != 0 && Glibc.errno != ENOENT {
            throw SystemError.last("remove", "\(path)/\(name)")
        }
        if rmdir(path) != 0 && Glibc.errno != ENOENT { throw SystemError.last("remove", path) }
        try sync(parent(of: path))
    }

    /// Renames within one directory, durably.
    public static func move(_ source: String, to target: String) throws(SystemError) {
        try retryingOnInterrupt("rename \(source) to", target) { rename(source, target) }
        try sync(parent(of: target))
    }

    /// Makes what was created, renamed and removed in it survive a power loss.
    public static func sync(_ path: String) throws(SystemError) {
        let descriptor = try retryingOnInterrupt("open", path) { open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { close(descriptor) }
        try retryingOnInterrupt("sync", path) { fsync(descriptor) }
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func copy(_ source: String, to target: String) throws(SystemError) {
        let from = try retryingOnInterrupt("read", source) { open(source, O_RDONLY | O_CLOEXEC) }
        defer { close(from) }
        let to = try retryingOnInterrupt("write", target) {
            open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        }
        defer { close(to) }
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = try retryingOnInterrupt("read", source) {
                chunk.withUnsafeMutableBytes { read(from, $0.baseAddress, $0.count) }
            }
            if count == 0 { break }
            var written = 0
            while written < count {
                written += try retryingOnInterrupt("write", target) {
                    chunk.withUnsafeBytes { write(to, $0.baseAddress?.advanced(by: written), count - written) }
                }
            }
        }
        try retryingOnInterrupt("sync", target) { fsync(to) }
    }
}
