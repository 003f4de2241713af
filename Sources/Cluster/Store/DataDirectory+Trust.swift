import Glibc
import Platform

// Who may have had a hand in the data directory: root and the effective user, and nobody else. What lies above it is the
// operator's.
extension DataDirectory {
    /// What this program makes in it, files first.
    private static let ownFiles = ["node.json", "recovery", "stored", "lease", "addresses"]
    private static let ownDirectories = ["raft", "raft.recovering"]

    /// - Throws: `Failure` `.untrusted`, with the remedy.
    static func check(_ directory: OpenDirectory) throws(Failure) {
        let status = try system { () throws(SystemError) in try directory.status() }
        guard let fault = FileTrust.fault(ofDirectory: status, effective: geteuid()) else { return }
        throw Failure(
            code: .untrusted,
            description: words(fault, "the data directory \(directory.path)", directory.path, status, isWhole: true))
    }

    /// What an earlier owner, or somebody who once had the right, may have left under our names: it is all that they can still do.
    func checkOwnFiles() throws(Failure) {
        for name in Self.ownFiles { try Self.checkFile(name, in: directory) }
        for name in Self.ownDirectories { try Self.checkDirectory(name, in: directory) }
    }

    /// libdqlite opens its files by path and follows links: so it is looked before it does. It makes no links, and nobody else may
    /// make any from now on.
    func checkRaftFiles() throws(Failure) {
        let raft = try openRaft()
        for name in try Self.system({ () throws(SystemError) in try raft.names() }) {
            try Self.checkFile(name, in: raft)
        }
    }

    /// That the path by which libdqlite will go leads to the directory that was looked at.
    func checkPath(of raft: OpenDirectory) throws(Failure) {
        let held = try Self.system { () throws(SystemError) in try raft.status() }
        var there = stat()
        guard stat(raftDirectory, &there) == 0, there.st_ino == held.st_ino, there.st_dev == held.st_dev else {
            throw Failure(
                code: .untrusted,
                description:
                    "\(raftDirectory) is not the directory any more that this process has opened: was it moved, or "
                    + "something mounted over it? Start dqlite-vip again when that is done")
        }
    }

    /// It is no fault when there is none.
    static func checkFile(_ name: String, in directory: OpenDirectory) throws(Failure) {
        try check(name, in: directory) { FileTrust.fault(ofFile: $0, effective: $1) }
    }

    private static func checkDirectory(_ name: String, in directory: OpenDirectory) throws(Failure) {
        try check(name, in: directory) { FileTrust.fault(ofDirectory: $0, effective: $1) }
    }

    private static func check(
        _ name: String, in directory: OpenDirectory, _ judge: (stat, uid_t) -> FileTrust.Fault?
    ) throws(Failure) {
        guard let status = try system({ () throws(SystemError) in try directory.status(of: name) }),
            let fault = judge(status, geteuid())
        else { return }
        let path = directory.pathOf(name)
        throw Failure(code: .untrusted, description: words(fault, path, path, status, isWhole: false))
    }

    /// - Parameter isWhole: it is the data directory itself, and not what is in it.
    static func words(
        _ fault: FileTrust.Fault, _ subject: String, _ path: String, _ status: stat, isWhole: Bool
    ) -> String {
        switch fault {
        case .owner(let owner): return foreign(owner, group: status.st_gid, subject, path, isWhole: isWhole)
        case .groupWrites:
            return "group \(status.st_gid) may write to \(subject) (mode \(octal(status.st_mode))), and with that lead "
                + "what is written there elsewhere: chmod g-w \(path)"
        case .othersWrite:
            let volume =
                isWhole ? ". If it is a volume of a container, name a directory in it: --data-dir \(path)/node" : ""
            return
                "everybody may write to \(subject) (mode \(octal(status.st_mode))), and with that lead what is written "
                + "there elsewhere: chmod go-w \(path)\(volume)"
        case .kind where status.st_mode & S_IFMT == S_IFLNK:
            return
                "\(subject) is a symbolic link, which dqlite-vip never makes: see who did (ls -l), and remove it. To "
                + "keep the data on another disk, make the data directory itself a link, or mount that disk there"
        case .kind:
            return
                "\(subject) is neither a file nor a directory as dqlite-vip makes it there: see who did (ls -l), and "
                + "move it away"
        case .links(let count):
            return
                "\(subject) has \(count) names, so that what is written to it is written elsewhere too: find the others "
                + "(find / -xdev -samefile \(path)) and remove them, or make it a file of its own (cp and mv)"
        }
    }

    private static func foreign(
        _ owner: uid_t, group: gid_t, _ subject: String, _ path: String, isWhole: Bool
    ) -> String {
        let own = UserName.described(geteuid())
        let head = "\(subject) belongs to user \(UserName.described(owner)), and this process runs as \(own)"
        let (give, mine) = ("chown -R \(geteuid()) \(path)", UserName.of(geteuid()) ?? "user \(geteuid())")
        guard isWhole else { return "\(head), whom it belongs to no more: if you know why it is there, \(give)" }
        let run =
            UserName.of(owner).map { "runuser -u \($0) -- dqlite-vip … (in a unit: User=\($0))" }
            ?? "setpriv --reuid=\(owner) --regid=\(group) --clear-groups dqlite-vip … (in a unit: User=\(owner))"
        return "\(head). Run it as that user: \(run). Or, if the data are to be \(mine)'s from now on: \(give)"
    }

    private static func octal(_ mode: mode_t) -> String { "0" + String(mode & 0o7777, radix: 8) }
}
