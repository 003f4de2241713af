import Glibc

/// Small files that must survive a crash: written whole beside the old one, synced, renamed over it, directory synced.
public enum DurableFile {
    /// Replaces `path` with `bytes`. After it returns, either power loss keeps the new content whole.
    ///
    /// - Throws: `SystemError` that names the file; the old content is then still there.
    public static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o600) throws(SystemError) {
        let temporary = path + ".new"
        let descriptor = try retryingOnInterrupt("write", temporary) {
            open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        }
        do {
            defer { close(descriptor) }
            var offset = 0
            while offset < bytes.count {
                offset += try retryingOnInterrupt("write", temporary) {
                    bytes.withUnsafeBytes { raw in
                        Glibc.write(descriptor, raw.baseAddress?.advanced(by: offset), raw.count - offset)
                    }
                }
            }
            try retryingOnInterrupt("sync", temporary) { fsync(descriptor) }
        } catch {
            unlink(temporary)
            throw error
        }
        try retryingOnInterrupt("rename \(temporary) to", path) { rename(temporary, path) }
        try syncDirectory(of: path)
    }

    /// The content of `path`; nil when there is no such file.
    ///
    /// - Throws: `SystemError` on any other failure, and with EFBIG when it holds more than `limit` bytes.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if Glibc.errno == ENOENT { return nil }
            throw SystemError.last("read", path)
        }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = try retryingOnInterrupt("read", path) {
                chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            }
            if count == 0 { return content }
            content.append(contentsOf: chunk[..<count])
            if content.count > limit { throw SystemError("read", path, errno: EFBIG) }
        }
    }

    /// Removes `path` durably; it is no error when it is not there.
    public static func remove(_ path: String) throws(SystemError) {
        if unlink(path) != 0 {
            if Glibc.errno == ENOENT { return }
            throw SystemError.last("remove", path)
        }
        try syncDirectory(of: path)
    }

    private static func syncDirectory(of path: String) throws(SystemError) {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = try retryingOnInterrupt("open", directory) {
            open(directory.isEmpty ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        defer { close(descriptor) }
        try retryingOnInterrupt("sync", directory) { fsync(descriptor) }
    }
}
