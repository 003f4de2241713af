import Glibc
import Platform

/// Whether the kernel keeps the secondary IPv4 addresses of a subnet when its primary goes: `promote_secondaries` of
/// ip-sysctl. Without it the expiry of a virtual address that was there first takes the host's own addresses of that subnet
/// along, and the loss of the host's address takes the virtual one.
///
/// It acts on the network namespace of the calling thread.
public enum SecondaryPromotion {
    /// Whether it is on for the interface, through `all` or through its own setting.
    ///
    /// - Throws: `SystemError` that names the file; ENOENT when there is no such interface.
    public static func isOn(interface: String) throws(SystemError) -> Bool {
        for name in ["all", interface] where try read(path(name)) != "0" { return true }
        return false
    }

    /// Turns it on for the interface, until the interface goes.
    ///
    /// - Throws: `SystemError` that names the file: EACCES, EPERM or EROFS where we may not, with the command to run.
    public static func enable(interface: String) throws(SystemError) {
        let path = path(interface)
        do {
            let descriptor = try retryingOnInterrupt("write", path) { open(path, O_WRONLY | O_CLOEXEC) }
            defer { close(descriptor) }
            try retryingOnInterrupt("write", path) { write(descriptor, "1", 1) }
        } catch {
            throw error.advised("run `sysctl -w net/ipv4/conf/\(interface)/promote_secondaries=1` as root")
        }
    }

    private static func path(_ name: String) -> String { "/proc/sys/net/ipv4/conf/\(name)/promote_secondaries" }

    private static func read(_ path: String) throws(SystemError) -> String {
        guard let content = try DurableFile.read(path) else { throw SystemError("read", path, errno: ENOENT) }
        return String(decoding: content.prefix { $0 != 0x0A }, as: UTF8.self)
    }
}
