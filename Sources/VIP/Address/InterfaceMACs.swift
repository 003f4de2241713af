import Glibc
import Platform

/// The MACs under which this host may answer for an address of an interface: its own, and those of the devices below it. A
/// bond in the mode balance-alb answers with the MAC of a slave (bonding of the kernel's documentation, "balance-alb"; `rlb_arp_xmit`).
///
/// Read from /sys/class/net (ABI/testing/sysfs-class-net), which shows the network namespace in which it was mounted. Where
/// that is another one, there is only the interface's own.
public enum InterfaceMACs {
    /// More are not told: then nobody relies on them.
    public static let most = 8
    /// A VLAN on a bond of slaves is two.
    private static let depth = 3

    /// The own one first. Empty: there is none, or there are too many.
    public static func read(_ link: LinkState) -> [HardwareAddress] { read(link, in: "/sys/class/net") }

    static func read(_ link: LinkState, in directory: String) -> [HardwareAddress] {
        guard let own = HardwareAddress(link.hardwareAddress), link.silence == nil else { return [] }
        var found = [own]
        if word("\(directory)/\(link.name)/ifindex") == "\(link.index)" {
            descend(link.name, in: directory, depth, into: &found)
        }
        return found.count > most ? [] : found
    }

    private static func descend(
        _ name: String, in directory: String, _ depth: Int, into found: inout [HardwareAddress]
    ) {
        // A bridge answers with its own, whatever hangs on it.
        guard depth > 0, found.count <= most, !Directory.exists("\(directory)/\(name)/bridge") else { return }
        let entries = (try? Directory.names("\(directory)/\(name)")) ?? nil
        for entry in entries ?? [] where entry.hasPrefix("lower_") {
            let lower = String(entry.dropFirst("lower_".count))
            for file in ["address", "bonding_slave/perm_hwaddr"] {
                guard let text = word("\(directory)/\(lower)/\(file)"), let mac = HardwareAddress(parsing: text),
                    !found.contains(mac)
                else { continue }
                found.append(mac)
            }
            descend(lower, in: directory, depth - 1, into: &found)
        }
    }

    /// The first line of a file; nil when it cannot be read, as of an interface that has just gone.
    private static func word(_ file: String) -> String? {
        guard let bytes = try? DurableFile.read(file, limit: 64) else { return nil }
        return String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
    }
}
