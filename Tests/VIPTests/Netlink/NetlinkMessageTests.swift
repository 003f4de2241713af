import Platform
import Testing

@testable import VIP

/// Bytes are those of a little-endian machine, which all of our platforms are.
@Suite("NetlinkMessage")
struct NetlinkMessageTests {
    private func only(_ bytes: [UInt8]) throws -> NetlinkMessage {
        let messages = NetlinkMessage.decode(bytes)
        #expect(messages.count == 1)
        return try #require(messages.first)
    }

    static let newAddress = hex(
        """
        60 00 00 00  14 00  02 00  09 00 00 00  d2 04 00 00  // 96 bytes, RTM_NEWADDR, MULTI, seq 9, port 1234
        02 18 80 00  03 00 00 00                             // AF_INET, /24, flags PERMANENT, universe; interface 3
        08 00 01 00  c0 00 02 01                             // IFA_ADDRESS: the peer
        08 00 02 00  c0 00 02 0a                             // IFA_LOCAL: the address
        08 00 04 00  c0 00 02 ff                             // IFA_BROADCAST
        09 00 03 00  65 74 68 30 00 00 00 00                 // IFA_LABEL "eth0"
        08 00 08 00  01 02 00 00                             // IFA_FLAGS: NOPREFIXROUTE|SECONDARY
        05 00 0b 00  d7 00 00 00                             // IFA_PROTO
        14 00 06 00  00 00 00 00  01 00 00 00  10 00 00 00  11 00 00 00  // IFA_CACHEINFO
        """)

    static let deletedSix = hex(
        """
        2c 00 00 00  15 00  00 00  00 00 00 00  00 00 00 00  // 44 bytes, RTM_DELADDR, an event
        0a 40 80 fd  02 00 00 00                             // AF_INET6, /64, PERMANENT, scope link; interface 2
        14 00 01 00  fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01  // IFA_ADDRESS
        """)

    static let newLink = hex(
        """
        38 00 00 00  10 00  00 00  00 00 00 00  00 00 00 00  // 56 bytes, RTM_NEWLINK, an event
        00 00 01 00  07 00 00 00  43 10 01 00  ff ff ff ff  // Ethernet, interface 7, UP|BROADCAST|RUNNING|MULTICAST|LOWER_UP
        09 00 03 80  65 74 68 30  00 00 00 00                // IFLA_IFNAME "eth0", with a flag bit in the type
        0a 00 01 00  02 00 5e 10 20 30  00 00                // IFLA_ADDRESS
        """)

    static let newNeighbour = hex(
        """
        30 00 00 00  1c 00  02 00  09 00 00 00  d2 04 00 00  // 48 bytes, RTM_NEWNEIGH, MULTI, seq 9, port 1234
        02 00 00 00  07 00 00 00  04 00 00 01                // AF_INET, interface 7, STALE, unicast
        08 00 01 00  c0 00 02 09                             // NDA_DST
        0a 00 02 00  02 00 5e 10 20 30  00 00                // NDA_LLADDR
        """)

    static let failure = hex(
        """
        34 00 00 00  02 00  00 03  05 00 00 00  d2 04 00 00  // 52 bytes, NLMSG_ERROR, CAPPED|ACK_TLVS, seq 5
        ff ff ff ff                                          // -EPERM
        4c 00 00 00  14 00  05 05  05 00 00 00  00 00 00 00  // header of the request, without its body
        0d 00 01 00  6e 6f 74 20 79 6f 75 21 00  00 00 00    // NLMSGERR_ATTR_MSG "not you!"
        """)

    static let done = hex(
        """
        14 00 00 00  03 00  12 00  09 00 00 00  d2 04 00 00  // 20 bytes, NLMSG_DONE, MULTI|DUMP_INTR
        00 00 00 00                                          // no error
        """)

    static let samples = [newAddress, deletedSix, newLink, newNeighbour, failure, done]

    @Test("a neighbour, and one whose MAC is not known")
    func neighbour() throws {
        let address = try #require(IPAddress("192.0.2.9"))
        let mac = try #require(HardwareAddress([2, 0, 0x5E, 0x10, 0x20, 0x30]))
        #expect(
            NetlinkMessage.decode(Self.newNeighbour).map(\.content)
                == [.neighbour(Neighbour(interfaceIndex: 7, address: address, hardwareAddress: mac, state: 4))])
        var silent = Array(Self.newNeighbour.prefix(36))
        silent[0] = 36
        #expect(
            NetlinkMessage.decode(silent).map(\.content)
                == [.neighbour(Neighbour(interfaceIndex: 7, address: address, hardwareAddress: nil, state: 4))])
        var short = Array(Self.newNeighbour.prefix(28))
        short[0] = 28
        #expect(NetlinkMessage.decode(short).map(\.content) == [.malformed(type: 28)], "it names no address")
    }

    @Test("an address: local before peer, wide flags before narrow, tag and lifetimes")
    func address() throws {
        let message = try only(Self.newAddress)
        #expect(message.sequence == 9)
        #expect(message.port == 1234)
        #expect(!message.isInterruptedDump)
        let expected = InterfaceAddress(
            interfaceIndex: 3, address: try #require(IPAddress("192.0.2.10")), prefixLength: 24, flags: 0x201, scope: 0,
            proto: 0xD7, validLifetime: 1, preferredLifetime: 0)
        #expect(message.content == .newAddress(expected))
        #expect(expected.isTagged && expected.isSecondary && expected.isGlobal)
    }

    @Test("an IPv6 address without the optional attributes is permanent and nobody's")
    func six() throws {
        let expected = InterfaceAddress(
            interfaceIndex: 2, address: try #require(IPAddress("fe80::1")), prefixLength: 64, flags: 0x80, scope: 253)
        #expect(try only(Self.deletedSix).content == .deletedAddress(expected))
        #expect(expected.validLifetime == .max && expected.preferredLifetime == .max && expected.proto == nil)
        #expect(!expected.isTagged && !expected.isSecondary && !expected.isGlobal)
    }

    @Test("a link with its name, MAC and state")
    func link() throws {
        guard case .newLink(let link) = try only(Self.newLink).content else {
            Issue.record("no link")
            return
        }
        #expect(link.index == 7 && link.name == "eth0" && link.hardwareType == 1)
        #expect(link.hardwareAddress == [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30])
        #expect(link.isUp && link.isRunning && link.hasCarrier && link.canSend)
        #expect(!link.isLoopback && !link.noARP)
    }

    @Test("a deleted link is known by its index")
    func deletedLink() throws {
        var bytes = Self.newLink
        bytes[4] = 0x11
        #expect(try only(bytes).content == .deletedLink(index: 7))
    }

    @Test("a bridge port and a wireless scan are no links")
    func foreignLinks() throws {
        var bridge = Self.newLink
        bridge[4] = 0x11
        bridge[16] = 7  // AF_BRIDGE
        #expect(try only(bridge).content == .other(type: 17))
        var wireless = Self.newLink
        wireless[46] = 11  // IFLA_WIRELESS in place of IFLA_ADDRESS
        #expect(try only(wireless).content == .other(type: 16))
    }

    @Test("an error carries its errno and the kernel's words, with and without the echoed request")
    func errors() throws {
        #expect(try only(Self.failure).content == .failure(errno: 1, text: "not you!"))
        let whole = hex(
            """
            3c 00 00 00  02 00  00 02  05 00 00 00  d2 04 00 00  // 60 bytes, NLMSG_ERROR, ACK_TLVS
            9d ff ff ff                                          // -EADDRNOTAVAIL
            18 00 00 00  15 00  05 00  05 00 00 00  00 00 00 00  // the request,
            02 18 00 00  03 00 00 00                             //   with its body
            0c 00 01 00  61 62 63 64 65 66 67 00                 // NLMSGERR_ATTR_MSG "abcdefg"
            08 00                                                // a torn attribute
            """)
        #expect(try only(Array(whole.dropLast(2)).withLength(60 - 4)).content == .failure(errno: 99, text: "abcdefg"))
        let acknowledgement = hex(
            """
            24 00 00 00  02 00  00 01  05 00 00 00  d2 04 00 00  // 36 bytes, NLMSG_ERROR, CAPPED
            00 00 00 00                                          // no error
            28 00 00 00  15 00  05 00  05 00 00 00  00 00 00 00  // header of the request
            """)
        #expect(try only(acknowledgement).content == .acknowledgement)
    }

    @Test("the lowest integer as an error code does not overflow")
    func lowestErrno() throws {
        var bytes = Self.failure
        bytes.replaceSubrange(16..<20, with: [0, 0, 0, 0x80])
        #expect(try only(bytes).content == .failure(errno: .max, text: "not you!"))
    }

    @Test("the end of a dump tells whether it was disturbed or failed")
    func ends() throws {
        let message = try only(Self.done)
        #expect(message.content == .done(errno: 0, text: nil))
        #expect(message.isInterruptedDump)
        var failed = Self.done
        failed.replaceSubrange(16..<20, with: [0xED, 0xFF, 0xFF, 0xFF])  // -ENODEV
        #expect(try only(failed).content == .done(errno: 19, text: nil))
    }

    @Test("a datagram holds many messages, padded to four bytes")
    func train() {
        // RTM_NEWADDR of an unknown family whose length, 25, is not padded in the header.
        let odd = hex("19 00 00 00 14 00 02 00 00 00 00 00 00 00 00 00  1f 00 00 00 00 00 00 00  ff") + [0, 0, 0]
        let messages = NetlinkMessage.decode(Self.newAddress + odd + Self.deletedSix + Self.done)
        #expect(messages.count == 4)
        #expect(messages.dropFirst().first?.content == .malformed(type: 20))
        #expect(messages.last?.content == .done(errno: 0, text: nil))
    }

    @Test("an attribute that overruns its message spoils that message and no other")
    func overrun() {
        var bytes = Self.newAddress
        bytes[24] = 0xFF
        let messages = NetlinkMessage.decode(bytes + Self.newLink)
        #expect(messages.first?.content == .malformed(type: 20))
        #expect(messages.last?.content == NetlinkMessage.decode(Self.newLink).first?.content)
    }

    @Test("a wrong length of the address, the prefix or the header is malformed")
    func wrongLengths() throws {
        var prefix = Self.newAddress
        prefix[17] = 33
        #expect(try only(prefix).content == .malformed(type: 20))
        var family = Self.newAddress
        family[16] = 10
        #expect(try only(family).content == .malformed(type: 20))
        var short = Self.newAddress
        short[0] = 15
        #expect(try only(short).content == .malformed(type: 20))
        var long = Self.newAddress
        long.replaceSubrange(0..<4, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(try only(long).content == .malformed(type: 20))
        #expect(NetlinkMessage.decode([]).isEmpty)
    }

    @Test("every truncation and every changed byte of a message decodes to something")
    func damage() {
        for sample in Self.samples {
            for length in 0..<sample.count {
                #expect(NetlinkMessage.decode(sample.prefix(length)).count == min(length, 1))
            }
            for position in sample.indices {
                for value: UInt8 in [0, 1, 3, 4, 0x7F, 0x80, 0xFF] {
                    var bytes = sample
                    bytes[position] = value
                    #expect(!NetlinkMessage.decode(bytes).isEmpty)
                }
            }
        }
    }

    @Test("50,000 random datagrams, half of them with sound headers, decode without a trap")
    func noise() {
        var random = SeededGenerator(state: 0xD7)
        for _ in 0..<50_000 {
            var bytes = (0..<Int.random(in: 0...160, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random), bytes.count >= 24 {
                bytes.replaceSubrange(0..<4, with: [UInt8(bytes.count), 0, 0, 0])
                bytes.replaceSubrange(4..<6, with: [[2, 3, 16, 17, 20, 21].randomElement(using: &random) ?? 2, 0])
                bytes[16] = [0, 2, 7, 10].randomElement(using: &random) ?? 0
                bytes[17] &= 0x3F
            }
            let messages = NetlinkMessage.decode(bytes)
            if bytes.isEmpty != messages.isEmpty { Issue.record("\(bytes)") }
        }
    }
}

extension [UInt8] {
    /// The message with another length in its header.
    fileprivate func withLength(_ length: UInt8) -> [UInt8] { [length] + dropFirst() }
}
