import Glibc
import Platform

/// Finds the socket that libdqlite listens on among the descriptors of this process.
enum ListenerDescriptors {
    /// Sets close-on-exec on the listening socket with this abstract name.
    ///
    /// - Returns: how many were found: 1, or 0 when /proc is not there.
    @discardableResult
    static func setCloseOnExec(abstractName name: String) -> Int {
        let wanted = Array(name.utf8)
        var found = 0
        for descriptor in all() where abstractName(of: descriptor) == wanted {
            let flags = fcntl(descriptor, F_GETFD)
            if flags >= 0, fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC) == 0 { found += 1 }
        }
        return found
    }

    /// The open descriptors of this process.
    static func all() -> [Int32] {
        guard let directory = opendir("/proc/self/fd") else { return [] }
        defer { closedir(directory) }
        var descriptors: [Int32] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let descriptor = Int32(name), descriptor != dirfd(directory) { descriptors.append(descriptor) }
        }
        return descriptors
    }

    /// The name that a unix socket is bound to in the abstract namespace; accepted sockets have their listener's.
    static func abstractName(of descriptor: Int32) -> [UInt8]? {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        let prefix = MemoryLayout<sa_family_t>.size
        guard result == 0, address.sun_family == sa_family_t(AF_UNIX), Int(length) > prefix else { return nil }
        return withUnsafeBytes(of: &address.sun_path) { path in
            path.first == 0 ? Array(path[1..<min(path.count, Int(length) - prefix)]) : nil
        }
    }
}
