import Glibc

/// A directory that is held open: its files are reached from its descriptor (openat(2)), so they stay those of this very
/// directory, whatever happens to the path. Names are those of files in it, without a slash; no link is followed at them.
public final class OpenDirectory: Sendable {
    /// For messages.
    public let path: String
    public let descriptor: Int32

    private static let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
    /// O_PATH of open(2), a GNU extension to the headers: the link itself, and not what it leads to.
    private static let pathOnly: Int32 = 0x20_0000

    /// Opens it; links in the path are followed.
    ///
    /// - Throws: `SystemError` that names the path.
    public init(_ path: String) throws(SystemError) {
        descriptor = try retryingOnInterrupt("open", path) { open(path, Self.flags) }
        self.path = path
    }

    /// Opens a directory in another one.
    ///
    /// - Throws: `SystemError`: ENOENT, ELOOP or ENOTDIR for a link or a file.
    public init(_ name: String, in parent: OpenDirectory) throws(SystemError) {
        let path = parent.pathOf(name)
        do {
            descriptor = try retryingOnInterrupt("open", path) {
                openat(parent.descriptor, name, Self.flags | O_NOFOLLOW)
            }
        } catch {
            throw error.explainingLinks()
        }
        self.path = path
    }

    /// Opens it and follows no link but those at the end of the path that root or the effective user has made; what lies above
    /// is the operator's.
    ///
    /// - Throws: `SystemError`: EPERM when somebody else has made a link, with the remedy.
    public init(trusted path: String) throws(SystemError) {
        var place = path
        do {
            let user = geteuid()
            // As many as anybody needs; the kernel follows 40 (MAXSYMLINKS).
            for _ in 0..<8 {
                guard let target = try Self.link(place, user: user) else { break }
                place = target.hasPrefix("/") ? target : Self.parent(of: place) + "/" + target
            }
            let last = place
            descriptor = try retryingOnInterrupt("open", last) { open(last, Self.flags | O_NOFOLLOW) }
        } catch {
            guard place != path, error.errno == ENOENT else { throw error }
            throw error.advised("\(path) is a link to it: mount or create that directory, or remove the link")
        }
        self.path = path
    }

    deinit { close(descriptor) }

    /// Where the link leads; nil when it is none.
    private static func link(_ place: String, user: uid_t) throws(SystemError) -> String? {
        let found = try retryingOnInterrupt("open", place) { open(place, Self.pathOnly | O_NOFOLLOW | O_CLOEXEC) }
        defer { close(found) }
        var status = stat()
        try retryingOnInterrupt("look at", place) { fstat(found, &status) }
        guard status.st_mode & S_IFMT == S_IFLNK else { return nil }
        if case .owner(let owner)? = FileTrust.fault(ofLink: status, effective: user) {
            throw SystemError(
                "follow the link", place, errno: EPERM,
                remedy:
                    "user \(UserName.described(owner)) has made it, who is neither root nor the user of this process: "
                    + "make it anew as root, or name the directory itself")
        }
        var target = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = try retryingOnInterrupt("read the link", place) {
            readlinkat(found, "", &target, target.count - 1)
        }
        return String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The directory above, as a path; `.` for a name alone.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The path of a name in it, for messages.
    public func pathOf(_ name: String) -> String { path == "/" ? "/\(name)" : "\(path)/\(name)" }

    // MARK: What is in it

    /// The names in it, sorted, without `.` and `..`.
    public func names() throws(SystemError) -> [String] {
        let copy = try retryingOnInterrupt("read the directory", path) {
            openat(descriptor, ".", Self.flags)
        }
        guard let directory = fdopendir(copy) else {
            let error = SystemError.last("read the directory", path)
            close(copy)
            throw error
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

    /// Of the directory itself.
    public func status() throws(SystemError) -> stat {
        var status = stat()
        try retryingOnInterrupt("look at", path) { fstat(descriptor, &status) }
        return status
    }

    /// Of a file, or of the link where the name is one; nil when there is nothing of this name.
    public func status(of name: String) throws(SystemError) -> stat? {
        var status = stat()
        do {
            try retryingOnInterrupt("look at", pathOf(name)) {
                fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW)
            }
        } catch {
            guard error.errno == ENOENT else { throw error }
            return nil
        }
        return status
    }

    public func has(_ name: String) throws(SystemError) -> Bool { try status(of: name) != nil }

    // MARK: Files

    /// The content of a file; nil when there is none.
    ///
    /// - Throws: `SystemError`: ELOOP for a link, EFBIG when it holds more than `limit` bytes, EINVAL when it is no file.
    public func read(_ name: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8]? {
        let path = pathOf(name)
        let file: Int32
        do {
            // Without O_NONBLOCK a pipe of that name would hold us up.
            file = try retryingOnInterrupt("read", path) {
                openat(descriptor, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            }
        } catch {
            if error.errno == ENOENT { return nil }
            throw error.explainingLinks()
        }
        defer { close(file) }
        var status = stat()
        try retryingOnInterrupt("look at", path) { fstat(file, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            throw SystemError(
                "read", path, errno: isDirectory ? EISDIR : EINVAL, remedy: "it is no file: move it away")
        }
        return try DurableFile.content(of: file, path, limit: limit)
    }

    /// Replaces a file. After it returns, either power loss keeps the new content whole.
    ///
    /// - Throws: `SystemError` that names the file; the old content is then still there.
    public func write(_ bytes: [UInt8], to name: String, mode: mode_t = 0o600) throws(SystemError) {
        let temporary = name + ".new"
        let path = pathOf(temporary)
        // What a crash left there, or what somebody put there: a link would lead what is written elsewhere.
        if unlinkat(descriptor, temporary, 0) != 0, Glibc.errno != ENOENT { throw SystemError.last("write", path) }
        let file = try retryingOnInterrupt("write", path) {
            openNew(descriptor, temporary, mode)
        }
        do {
            defer { close(file) }
            try DurableFile.writeAll(bytes[...], to: file, path)
            try retryingOnInterrupt("sync", path) { fsync(file) }
        } catch {
            unlinkat(descriptor, temporary, 0)
            throw error
        }
        try retryingOnInterrupt("rename \(path) to", pathOf(name)) {
            renameat(descriptor, temporary, descriptor, name)
        }
        try sync()
    }

    /// Opens a file for reading and writing, and makes an empty one where there is none; the caller closes it.
    ///
    /// - Throws: `SystemError`: ELOOP for a link.
    public func openFile(_ name: String, mode: mode_t = 0o600) throws(SystemError) -> Int32 {
        do {
            return try retryingOnInterrupt("open", pathOf(name)) {
                openat(descriptor, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode)
            }
        } catch {
            throw error.explainingLinks()
        }
    }

    /// Removes a file durably; it is no error when it is not there.
    public func remove(_ name: String) throws(SystemError) {
        if unlinkat(descriptor, name, 0) != 0 {
            if Glibc.errno == ENOENT { return }
            throw SystemError.last("remove", pathOf(name))
        }
        try sync()
    }

    /// Makes a directory in it; it is no error when there is one.
    public func makeDirectory(_ name: String, mode: mode_t = 0o700) throws(SystemError) {
        if mkdirat(descriptor, name, mode) != 0, Glibc.errno != EEXIST {
            throw SystemError.last("create", pathOf(name))
        }
    }

    /// Renames within the directory, durably.
    public func move(_ name: String, to new: String) throws(SystemError) {
        try retryingOnInterrupt("rename \(pathOf(name)) to", pathOf(new)) {
            renameat(descriptor, name, descriptor, new)
        }
        try sync()
    }

    /// Makes what was created, renamed and removed in it survive a power loss.
    public func sync() throws(SystemError) { try retryingOnInterrupt("sync", path) { fsync(descriptor) } }

    // MARK: Directories without others below them

    /// Copies the files of one in it to a new one in it, durably; `target` must not be there.
    ///
    /// - Throws: `SystemError` that names the file; part of the copy may be there then.
    public func copyFiles(of source: String, to target: String) throws(SystemError) {
        let from = try OpenDirectory(source, in: self)
        try retryingOnInterrupt("create", pathOf(target)) { mkdirat(descriptor, target, 0o700) }
        let to = try OpenDirectory(target, in: self)
        for name in try from.names() { try from.copy(name, to: to) }
        try to.sync()
        try sync()
    }

    /// Removes one in it with the files that it has; it is no error when it is not there.
    public func removeWithFiles(_ name: String) throws(SystemError) {
        guard try has(name) else { return }
        let directory = try OpenDirectory(name, in: self)
        for file in try directory.names() where unlinkat(directory.descriptor, file, 0) != 0 && Glibc.errno != ENOENT {
            throw SystemError.last("remove", directory.pathOf(file))
        }
        if unlinkat(descriptor, name, AT_REMOVEDIR) != 0 && Glibc.errno != ENOENT {
            throw SystemError.last("remove", pathOf(name))
        }
        try sync()
    }

    private func copy(_ name: String, to other: OpenDirectory) throws(SystemError) {
        let (source, target) = (pathOf(name), other.pathOf(name))
        let from = try retryingOnInterrupt("read", source) {
            openat(descriptor, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        }
        defer { close(from) }
        let to = try retryingOnInterrupt("write", target) { openNew(other.descriptor, name, 0o600) }
        defer { close(to) }
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = try retryingOnInterrupt("read", source) {
                chunk.withUnsafeMutableBytes { Glibc.read(from, $0.baseAddress, $0.count) }
            }
            if count == 0 { break }
            try DurableFile.writeAll(chunk[..<count], to: to, target)
        }
        try retryingOnInterrupt("sync", target) { fsync(to) }
    }
}

/// A file that nobody else has by this name.
private func openNew(_ directory: Int32, _ name: String, _ mode: mode_t) -> Int32 {
    openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
}

extension SystemError {
    /// ELOOP of a file that is opened with O_NOFOLLOW says that it is a link.
    fileprivate func explainingLinks() -> SystemError {
        errno == ELOOP
            ? advised("it is a symbolic link, which dqlite-vip never makes: see who did, and remove it") : self
    }
}
