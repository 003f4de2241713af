import Glibc

/// Small files that must survive a crash: written whole beside the old one, synced, renamed over it, directory synced.
///
/// By path, for what an operator names, where links in the path are his. What lies in the data directory is reached by an
/// `OpenDirectory`.
public enum DurableFile {
    /// Replaces `path` with `bytes`. After it returns, either power loss keeps the new content whole. A link of that name is
    /// replaced and not followed.
    ///
    /// - Throws: `SystemError` that names the file; the old content is then still there.
    public static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o600) throws(SystemError) {
        let (directory, name) = try place(path, "write")
        try directory.write(bytes, to: name, mode: mode)
    }

    /// The content of `path`; nil when there is no such file. Links are followed: secrets that are mounted are such.
    ///
    /// - Throws: `SystemError` on any other failure, and with EFBIG when it holds more than `limit` bytes.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if Glibc.errno == ENOENT { return nil }
            throw SystemError.last("read", path)
        }
        defer { close(descriptor) }
        return try content(of: descriptor, path, limit: limit)
    }

    /// Removes `path` durably; it is no error when it is not there.
    public static func remove(_ path: String) throws(SystemError) {
        if unlink(path) != 0 {
            if Glibc.errno == ENOENT { return }
            throw SystemError.last("remove", path)
        }
        try OpenDirectory(OpenDirectory.parent(of: path)).sync()
    }

    private static func place(
        _ path: String, _ operation: String
    ) throws(SystemError) -> (directory: OpenDirectory, name: String) {
        let name = path.split(separator: "/", omittingEmptySubsequences: false).last.map(String.init) ?? ""
        guard !name.isEmpty else { throw SystemError(operation, path, errno: ENOENT) }
        return (try OpenDirectory(OpenDirectory.parent(of: path)), name)
    }

    static func content(of descriptor: Int32, _ path: String, limit: Int) throws(SystemError) -> [UInt8] {
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

    static func writeAll(_ bytes: ArraySlice<UInt8>, to descriptor: Int32, _ path: String) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            offset += try retryingOnInterrupt("write", path) {
                bytes.withUnsafeBytes { raw in
                    Glibc.write(descriptor, raw.baseAddress?.advanced(by: offset), raw.count - offset)
                }
            }
        }
    }
}
