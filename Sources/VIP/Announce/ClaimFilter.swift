import CLinux
import Glibc
import Platform

/// Classic BPF programs (linux/filter.h) for whole Ethernet frames, so that the kernel keeps from us what does not matter.
///
/// Frames of another VLAN are refused, whether or not this host has an interface for it: they are not of this LAN. What passes
/// is decoded and checked all the same.
///
/// A frame of VLAN 5 comes to a socket that is bound to eth0 in two ways (`__netif_receive_skb_core` of net/core/dev.c). Where
/// there is no eth0.5, the kernel calls it a frame for another host and takes the tag off. Where there is one,
/// `vlan_do_receive` takes the tag off, makes eth0.5 the frame's device, and the frame goes round again; eth0 stays the
/// device on which it came, and its sockets get the frame as one of theirs. Then only the index of the device tells: no tag is
/// left to look for. Above a bond, a team or a bridge it is right as well: who answers for its slave has made the master the
/// device before the sockets of the master see the frame. A priority without a VLAN (number 0) is this LAN's.
enum ClaimFilter {
    /// With more addresses than a jump is wide all pass, and are told apart later.
    private static let most = 200

    /// ARP whose sender address is one of these or 0.0.0.0.
    ///
    /// - Parameter interface: the index of the one to which the socket is bound.
    static func arp(_ addresses: Set<IPAddress>, interface: UInt32) -> [sock_filter] {
        let ours = ours(interface)
        guard addresses.count < most else { return ours + [accept] }
        return ours + [load(BPF_W, 28)] + either([0] + lastWords(addresses)) + [refuse, accept]
    }

    /// Neighbour Solicitations and Advertisements whose target, or whose source if they solicit, ends as one of these does:
    /// in the last four bytes.
    ///
    /// - Parameter interface: the index of the one to which the socket is bound.
    static func neighbours(_ addresses: Set<IPAddress>, interface: UInt32) -> [sock_filter] {
        let ours = ours(interface)
        let kind = [load(BPF_B, 20)] + require(58) + [load(BPF_B, 54)] + either([135, 136]) + [refuse]
        guard addresses.count < most else { return ours + kind + [accept] }
        let words = lastWords(addresses)
        let target = [load(BPF_W, 74)] + either(words) + [skip(1), accept]
        let source = [load(BPF_B, 54)] + require(135) + [load(BPF_W, 34)] + either(words) + [refuse, accept]
        return ours + kind + target + source
    }

    private static let accept = statement(BPF_RET | BPF_K, 2048)
    private static let refuse = statement(BPF_RET | BPF_K, 0)

    /// Goes on with frames of this very interface that are not for somebody else.
    private static func ours(_ interface: UInt32) -> [sock_filter] {
        [load(BPF_W, UInt32(bitPattern: SKF_AD_OFF + SKF_AD_PKTTYPE))] + either([UInt32(PACKET_OTHERHOST)])
            + [skip(1), refuse] + [load(BPF_W, UInt32(bitPattern: SKF_AD_OFF + SKF_AD_IFINDEX))] + require(interface)
    }

    private static func lastWords(_ addresses: Set<IPAddress>) -> [UInt32] {
        Set(addresses.map { $0.bytes.suffix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }).sorted()
    }

    /// When the loaded value is one of these, the statement that follows is left out.
    private static func either(_ values: [UInt32]) -> [sock_filter] {
        values.enumerated().map { place, value in
            sock_filter(code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: UInt8(values.count - place), jf: 0, k: value)
        }
    }

    private static func require(_ value: UInt32) -> [sock_filter] { either([value]) + [refuse] }

    private static func load(_ size: Int32, _ offset: UInt32) -> sock_filter {
        statement(BPF_LD | size | BPF_ABS, offset)
    }

    private static func skip(_ count: UInt32) -> sock_filter { statement(BPF_JMP | BPF_JA, count) }

    private static func statement(_ code: Int32, _ k: UInt32) -> sock_filter {
        sock_filter(code: UInt16(code), jt: 0, jf: 0, k: k)
    }
}
