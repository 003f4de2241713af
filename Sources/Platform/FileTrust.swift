import Glibc

/// Whether what lies in a private place can be what this program put there: nobody else may have had a hand in it.
///
/// Root is trusted, as it can do anything anyway, and so is the effective user of this process. Whoever may write to a
/// directory can put links there that lead what is written elsewhere; so it must be nobody else. An access list (acl(5)) that
/// lets others write shows as the right of the group.
public enum FileTrust {
    /// What is wrong with an owner or with rights.
    public enum Fault: Equatable, Sendable {
        /// It belongs to this user, who is neither root nor the effective one.
        case owner(uid_t)
        /// Its group may write to it.
        case groupWrites
        /// Everybody may.
        case othersWrite
        /// It is no file of its own kind: a link, a pipe, a device.
        case kind
        /// It has further names, perhaps elsewhere.
        case links(UInt64)
    }

    /// What is wrong with a directory; nil when nothing is.
    public static func fault(ofDirectory status: stat, effective: uid_t) -> Fault? {
        guard status.st_mode & S_IFMT == S_IFDIR else { return .kind }
        return rights(status, effective)
    }

    /// What is wrong with a file that is to be read or written; nil when nothing is.
    public static func fault(ofFile status: stat, effective: uid_t) -> Fault? {
        guard status.st_mode & S_IFMT == S_IFREG else { return .kind }
        if let fault = rights(status, effective) { return fault }
        return status.st_nlink > 1 ? .links(UInt64(status.st_nlink)) : nil
    }

    /// Whether a symbolic link on the way to a directory may be followed: the kernel follows any, whoever made it.
    public static func fault(ofLink status: stat, effective: uid_t) -> Fault? {
        isTrusted(status.st_uid, effective) ? nil : .owner(status.st_uid)
    }

    private static func isTrusted(_ owner: uid_t, _ effective: uid_t) -> Bool { owner == 0 || owner == effective }

    private static func rights(_ status: stat, _ effective: uid_t) -> Fault? {
        if !isTrusted(status.st_uid, effective) { return .owner(status.st_uid) }
        // The sticky bit is no help: it keeps others from removing names, and not from making new ones.
        if status.st_mode & S_IWOTH != 0 { return .othersWrite }
        return status.st_mode & S_IWGRP != 0 ? .groupWrites : nil
    }
}

/// A user for people: `dqlite-vip (998)`, or the number alone where there is no name.
public enum UserName {
    /// The name of a user, from the databases of nsswitch.conf(5); nil when there is none.
    public static func of(_ user: uid_t) -> String? {
        guard let entry = getpwuid(user), let name = entry.pointee.pw_name else { return nil }
        return String(cString: name)
    }

    public static func described(_ user: uid_t) -> String { of(user).map { "\($0) (\(user))" } ?? "\(user)" }
}
