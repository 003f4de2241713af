import Platform
import Testing

@testable import VIP

/// Bytes are those of a little-endian machine, which all of our platforms are.
@Suite("NetlinkRequest")
struct NetlinkRequestTests {
    private func address(_ text: String) throws -> VirtualAddress { try VirtualAddress(parsing: text) }

    private func setting(
        _ text: String, valid: UInt32 = 1, preferred: UInt32 = 0, exclusive: Bool = false, prefixRoute: Bool = false
    ) throws -> NetlinkRequest {
        .setAddress(
            .init(
                address: try address(text), interface: 3, validLifetime: valid, preferredLifetime: preferred,
                exclusive: exclusive, prefixRoute: prefixRoute))
    }

    @Test("ip address replace 192.0.2.10/24 dev #3 valid_lft 1 preferred_lft 0 noprefixroute proto 0xd7")
    func setAddress() throws {
        let expected = hex(
            """
            4c 00 00 00  14 00  05 05  07 00 00 00  00 00 00 00  // 76 bytes, RTM_NEWADDR, REQUEST|ACK|CREATE|REPLACE, seq 7
            02 18 00 00  03 00 00 00                             // AF_INET, /24, no flags here, universe; interface 3
            08 00 02 00  c0 00 02 0a                             // IFA_LOCAL
            08 00 01 00  c0 00 02 0a                             // IFA_ADDRESS
            14 00 06 00  00 00 00 00  01 00 00 00                // IFA_CACHEINFO: preferred 0, valid 1
                         00 00 00 00  00 00 00 00                //   time stamps, of reports only
            08 00 08 00  00 02 00 00                             // IFA_FLAGS: NOPREFIXROUTE
            05 00 0b 00  d7 00 00 00                             // IFA_PROTO 0xd7, padding
            """)
        #expect(try setting("192.0.2.10/24").encode(sequence: 7) == expected)
    }

    @Test("ip address add fd00::10/64 dev #3 valid_lft 60 preferred_lft 30 nodad proto 0xd7")
    func setSix() throws {
        let expected = hex(
            """
            64 00 00 00  14 00  05 06  ff ff ff ff  00 00 00 00  // 100 bytes, RTM_NEWADDR, REQUEST|ACK|CREATE|EXCL
            0a 40 00 00  03 00 00 00                             // AF_INET6, /64, no flags here, universe; interface 3
            14 00 02 00  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10  // IFA_LOCAL
            14 00 01 00  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10  // IFA_ADDRESS
            14 00 06 00  1e 00 00 00  3c 00 00 00                // IFA_CACHEINFO: preferred 30, valid 60
                         00 00 00 00  00 00 00 00
            08 00 08 00  02 00 00 00                             // IFA_FLAGS: NODAD, with prefix route
            05 00 0b 00  d7 00 00 00                             // IFA_PROTO
            """)
        let request = try setting("fd00::10/64", valid: 60, preferred: 30, exclusive: true, prefixRoute: true)
        #expect(request.encode(sequence: .max) == expected)
    }

    @Test("ip address delete 192.0.2.10/24 dev #3 names local address, prefix and interface")
    func deleteAddress() throws {
        let expected = hex(
            """
            28 00 00 00  15 00  05 00  01 00 00 00  00 00 00 00  // 40 bytes, RTM_DELADDR, REQUEST|ACK, seq 1
            02 18 00 00  03 00 00 00                             // AF_INET, /24; interface 3
            08 00 02 00  c0 00 02 0a                             // IFA_LOCAL
            08 00 01 00  c0 00 02 0a                             // IFA_ADDRESS: without it any prefix length would match
            """)
        let request = NetlinkRequest.deleteAddress(try address("192.0.2.10/24"), interface: 3)
        #expect(request.encode(sequence: 1) == expected)
    }

    @Test("ip address show dev #258")
    func dumpAddresses() {
        let expected = hex(
            """
            18 00 00 00  16 00  01 03  02 00 00 00  00 00 00 00  // 24 bytes, RTM_GETADDR, REQUEST|DUMP, seq 2
            00 00 00 00  02 01 00 00                             // all families; interface 258
            """)
        #expect(NetlinkRequest.dumpAddresses(interface: 258).encode(sequence: 2) == expected)
    }

    @Test("ip -6 neighbour show dev #258: the interface is an attribute, the head is empty but for the family")
    func dumpNeighbours() {
        let expected = hex(
            """
            24 00 00 00  1e 00  01 03  02 00 00 00  00 00 00 00  // 36 bytes, RTM_GETNEIGH, REQUEST|DUMP, seq 2
            0a 00 00 00  00 00 00 00  00 00 00 00                // ndmsg: AF_INET6
            08 00 08 00  02 01 00 00                             // NDA_IFINDEX 258
            """)
        #expect(NetlinkRequest.dumpNeighbours(.v6, interface: 258).encode(sequence: 2) == expected)
    }

    @Test("ip link show")
    func dumpLinks() {
        let expected = hex(
            """
            28 00 00 00  12 00  01 03  03 00 00 00  00 00 00 00  // 40 bytes, RTM_GETLINK, REQUEST|DUMP, seq 3
            00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  // ifinfomsg, all zero
            08 00 1d 00  08 00 00 00                             // IFLA_EXT_MASK: skip statistics
            """)
        #expect(NetlinkRequest.dumpLinks.encode(sequence: 3) == expected)
    }

    @Test("ip link show dev eth0, and by an alternative name")
    func link() {
        let expected = hex(
            """
            34 00 00 00  12 00  05 00  04 00 00 00  00 00 00 00  // 52 bytes, RTM_GETLINK, REQUEST|ACK, seq 4
            00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  // ifinfomsg, all zero
            08 00 1d 00  08 00 00 00                             // IFLA_EXT_MASK: skip statistics
            09 00 03 00  65 74 68 30  00 00 00 00                // IFLA_IFNAME "eth0", NUL, padding
            """)
        #expect(NetlinkRequest.link(name: "eth0").encode(sequence: 4) == expected)
        let long = NetlinkRequest.link(name: "sixteen-bytes-ab").encode(sequence: 4)
        #expect(Array(long[40..<44]) == hex("15 00 35 00"))  // IFLA_ALT_IFNAME
    }
}
