import Glibc
import Platform

/// What laboratories leave on the host: namespaces and a scratch directory, named after the process that made them.
public enum Leftovers {
    static let namePrefix = "dvlab-"
    static let root = "/tmp/dqlite-vip-lab"
    private static let keptMark = "kept"

    /// Removes what laboratories of dead processes left: the processes in their namespaces, the namespaces, the files.
    ///
    /// `sparingKept`: leaves alone what `make demo KEEP=1` left on purpose.
    /// Gives the prefixes that were removed.
    public static func clean(sparingKept: Bool) -> [String] {
        var byPrefix: [String: [Namespace]] = [:]
        for directory in ProcessTable.entries(of: root) where owner(of: directory) != nil {
            byPrefix[directory] = []
        }
        for namespace in Namespace.existing() {
            guard let prefix = prefix(of: namespace.name) else { continue }
            byPrefix[prefix, default: []].append(namespace)
        }
        let dead = byPrefix.filter { prefix, _ in
            guard let owner = owner(of: prefix), !ProcessTable.isAlive(owner) else { return false }
            return !(sparingKept && access("\(root)/\(prefix)/\(keptMark)", F_OK) == 0)
        }
        for (prefix, namespaces) in dead {
            for namespace in namespaces {
                namespace.killProcesses()
                namespace.delete()
            }
            removeDirectory(of: prefix)
        }
        return dead.keys.sorted()
    }

    /// "dvlab-PID-RANDOM" of "dvlab-PID-RANDOM-s1".
    private static func prefix(of name: String) -> String? {
        let parts = name.split(separator: "-")
        guard parts.count == 4, name.hasPrefix(namePrefix) else { return nil }
        return parts[0..<3].joined(separator: "-")
    }

    private static func owner(of prefix: String) -> pid_t? {
        let parts = prefix.split(separator: "-")
        guard parts.count == 3, prefix.hasPrefix(namePrefix) else { return nil }
        return pid_t(parts[1])
    }

    static func makeDirectory(for prefix: String) throws(SystemError) -> String {
        // World-searchable: tests also run the product as an unprivileged user, in a directory below.
        for path in [root, "\(root)/\(prefix)"] where mkdir(path, 0o755) != 0 && Glibc.errno != EEXIST {
            throw SystemError.last("make the directory", path)
        }
        return "\(root)/\(prefix)"
    }

    static func removeDirectory(of prefix: String) {
        // A small file system of a node whose laboratory did not come to unmount it.
        for line in ProcessTable.text("/proc/self/mounts").split(separator: "\n") {
            guard let path = line.split(separator: " ").dropFirst().first, path.hasPrefix("\(root)/\(prefix)/") else {
                continue
            }
            _ = try? ToolCommand.run(["umount", "--lazy", String(path)])
        }
        FileTree.remove("\(root)/\(prefix)")
    }

    static func markKept(_ prefix: String) throws(SystemError) {
        try DurableFile.write([], to: "\(root)/\(prefix)/\(keptMark)")
    }
}

/// Directories with all that is in them.
public enum FileTree {
    /// Removes the tree; it is no error when it is not there. Symbolic links are removed, not followed.
    public static func remove(_ path: String) {
        var information = stat()
        guard lstat(path, &information) == 0 else { return }
        if information.st_mode & S_IFMT == S_IFDIR {
            for name in ProcessTable.entries(of: path) { remove("\(path)/\(name)") }
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}
