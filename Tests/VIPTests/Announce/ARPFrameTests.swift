import Platform
import Testing
import VIP

@Suite("ARPFrame")
struct ARPFrameTests {
    private let mac: [UInt8] = [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30]

    private func address() throws -> IPAddress { try #require(IPAddress("192.0.2.10")) }

    static let requestForm = hex(
        """
        ff ff ff ff ff ff  02 00 5e 10 20 30  // Ethernet: to everybody, from us
        08 06                                 // EtherType ARP
        00 01  08 00  06 04                   // Ethernet, IPv4, lengths of their addresses
        00 01                                 // request
        02 00 5e 10 20 30  c0 00 02 0a        // sender: our MAC, 192.0.2.10
        00 00 00 00 00 00  c0 00 02 0a        // target: unset, 192.0.2.10
        """)

    static let replyForm = hex(
        """
        ff ff ff ff ff ff  02 00 5e 10 20 30  // Ethernet: to everybody, from us
        08 06                                 // EtherType ARP
        00 01  08 00  06 04                   // Ethernet, IPv4, lengths of their addresses
        00 02                                 // reply
        02 00 5e 10 20 30  c0 00 02 0a        // sender: our MAC, 192.0.2.10
        02 00 5e 10 20 30  c0 00 02 0a        // target: our MAC (RFC 5944 4.6), 192.0.2.10
        """)

    @Test("the request form is the announcement of RFC 5227")
    func request() throws {
        let frame = try #require(ARPFrame(announcing: try address(), at: mac, as: .request))
        #expect(frame.bytes == Self.requestForm)
        #expect(frame.isGratuitous)
    }

    @Test("the reply form carries our MAC as target too")
    func reply() throws {
        #expect(try #require(ARPFrame(announcing: try address(), at: mac, as: .reply)).bytes == Self.replyForm)
    }

    @Test("to one host: a reply to its MAC and its address, which is no gratuitous one")
    func toOneHost() throws {
        let mac = try #require(HardwareAddress([2, 0, 0x5E, 0, 0, 9]))
        let host = Neighbour(
            interfaceIndex: 2, address: try #require(IPAddress("192.0.2.9")), hardwareAddress: mac, state: 2)
        let frame = try #require(ARPFrame(announcing: try address(), at: self.mac, to: host))
        let expected = hex(
            """
            02 00 5e 00 00 09  02 00 5e 10 20 30  // Ethernet: to that host, from us
            08 06  00 01  08 00  06 04  00 02     // ARP for IPv4 over Ethernet: a reply
            02 00 5e 10 20 30  c0 00 02 0a        // sender: our MAC, 192.0.2.10
            02 00 5e 00 00 09  c0 00 02 09        // target: its MAC, 192.0.2.9
            """)
        #expect(frame.bytes == expected)
        #expect(!frame.isGratuitous)
        var unknown = host
        unknown.hardwareAddress = nil
        #expect(ARPFrame(announcing: try address(), at: self.mac, to: unknown) == nil)
    }

    @Test("what is no IPv4 address or no Ethernet address makes no frame")
    func refused() throws {
        #expect(ARPFrame(announcing: try #require(IPAddress("fd00::1")), at: mac, as: .request) == nil)
        #expect(ARPFrame(announcing: try address(), at: [], as: .request) == nil)
        #expect(ARPFrame(announcing: try address(), at: mac + mac, as: .reply) == nil)
    }

    @Test("frames decode to what was encoded, with and without padding")
    func roundTrip() throws {
        for operation in ARPFrame.Operation.allCases {
            let frame = try #require(ARPFrame(announcing: try address(), at: mac, as: operation))
            #expect(ARPFrame(decoding: frame.bytes) == frame)
            #expect(ARPFrame(decoding: frame.bytes + [UInt8](repeating: 0xEE, count: 18)) == frame)
        }
    }

    @Test("an ordinary question of another host decodes, and is not gratuitous")
    func question() throws {
        let frame = try #require(
            ARPFrame(
                decoding: hex(
                    """
                    ff ff ff ff ff ff  aa bb cc dd ee ff  08 06  00 01 08 00 06 04  00 01
                    aa bb cc dd ee ff  c0 00 02 01        // sender 192.0.2.1
                    00 00 00 00 00 00  c0 00 02 0a        // asks for 192.0.2.10
                    """)))
        #expect(frame.senderAddress.description == "192.0.2.1")
        #expect(frame.targetAddress.description == "192.0.2.10")
        #expect(frame.source == [0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF])
        #expect(!frame.isGratuitous)
    }

    @Test("a frame that is short, or no ARP for IPv4 over Ethernet, decodes to nothing")
    func foreign() {
        for length in 0..<42 { #expect(ARPFrame(decoding: Self.requestForm.prefix(length)) == nil) }
        // EtherType, hardware type, protocol type, lengths, operation: each byte of them matters.
        for position in 12..<22 {
            var bytes = Self.requestForm
            bytes[position] ^= 0x40
            #expect(ARPFrame(decoding: bytes) == nil, "byte \(position)")
        }
    }
}
