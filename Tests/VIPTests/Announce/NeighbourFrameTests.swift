import Platform
import Testing

@testable import VIP

@Suite("NeighbourFrame")
struct NeighbourFrameTests {
    /// 2001:db8::10 is at 02:00:5e:10:20:30; the checksums were computed by another program.
    static let advertisement = hex(
        """
        333300000001 02005e102030 86dd                    // to all nodes, from us, IPv6
        60000000 0020 3a ff                               // 32 bytes of ICMPv6, hop limit 255
        20010db8000000000000000000000010                  // from the address itself
        ff020000000000000000000000000001                  // to ff02::1
        88 00 7acd 20000000                               // advertisement: override
        20010db8000000000000000000000010 02 01 02005e102030
        """)
    @Test("to one host: the same advertisement to its MAC and its address, with a right checksum")
    func toOneHost() throws {
        let vip = try #require(IPAddress("2001:db8::10"))
        let host = Neighbour(
            interfaceIndex: 2, address: try #require(IPAddress("fe80::9")),
            hardwareAddress: HardwareAddress([2, 0, 0x5E, 0, 0, 9]), state: 2)
        let mac: [UInt8] = [2, 0, 0x5E, 0x10, 0x20, 0x30]
        let frame = try #require(NeighbourFrame(announcing: vip, at: mac, isRouter: false, to: host))
        #expect(Array(frame.bytes.prefix(6)) == host.hardwareAddress?.bytes)
        #expect(NeighbourFrame(decoding: frame.bytes) == frame, "the decoder checks the sum")
        #expect(frame.destinationAddress == host.address && frame.sourceAddress == vip && frame.target == vip)
        #expect(frame.message == .advertisement(isRouter: false, isSolicited: false, overrides: true))
        #expect(frame.linkAddress == mac)
    }

    private static let probe = hex(
        """
        3333ff000010 02005e102030 86dd
        60000000 0018 3a ff
        00000000000000000000000000000000
        ff0200000000000000000001ff000010                  // the solicited-node group
        87 00 4ccf 00000000 20010db8000000000000000000000010
        """)
    private static let mac: [UInt8] = [2, 0, 0x5E, 0x10, 0x20, 0x30]
    private let address: IPAddress

    init() throws { address = try #require(IPAddress("2001:db8::10")) }

    @Test("the unsolicited advertisement of RFC 4861 section 7.2.6")
    func announcing() throws {
        let frame = try #require(NeighbourFrame(announcing: address, at: Self.mac, isRouter: false))
        #expect(frame.bytes == Self.advertisement)
        #expect(NeighbourFrame(decoding: frame.bytes) == frame)
        let router = try #require(NeighbourFrame(announcing: address, at: Self.mac, isRouter: true))
        #expect(router.bytes[56...58] == [0xFA, 0xCC, 0xA0])
        #expect(NeighbourFrame(decoding: router.bytes) == router)
    }

    @Test("the probe of RFC 4862 section 5.4.2: from nobody, to the solicited-node group, without a MAC")
    func probing() throws {
        let frame = try #require(NeighbourFrame(probing: address, from: Self.mac))
        #expect(frame.bytes == Self.probe)
        #expect(NeighbourFrame(decoding: frame.bytes) == frame)
        // Padding of a short frame, and of a longer one, is no part of it.
        #expect(NeighbourFrame(decoding: frame.bytes + [0, 0, 0]) == frame)
    }

    @Test("no frame comes of an IPv4 address or a MAC of other length")
    func refused() throws {
        let four = try #require(IPAddress("192.0.2.1"))
        #expect(NeighbourFrame(announcing: four, at: Self.mac, isRouter: false) == nil)
        #expect(NeighbourFrame(announcing: address, at: [1], isRouter: false) == nil)
        #expect(NeighbourFrame(probing: four, from: Self.mac) == nil)
        #expect(NeighbourFrame(probing: address, from: []) == nil)
    }

    /// The frame with some bytes changed and the checksum made right again.
    private func changed(_ frame: [UInt8], _ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes = frame
        change(&bytes)
        (bytes[56], bytes[57]) = (0, 0)
        var data = bytes[22..<54] + bytes[54...]
        if !data.count.isMultiple(of: 2) { data.append(0) }
        var sum = bytes.count - 54 + 58
        for place in stride(from: data.startIndex, to: data.endIndex, by: 2) {
            sum += Int(data[place]) << 8 | Int(data[place + 1])
        }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        (bytes[56], bytes[57]) = (UInt8(~sum >> 8 & 0xFF), UInt8(~sum & 0xFF))
        return bytes
    }

    @Test("what RFC 4861 section 7.1 calls invalid says nothing")
    func invalid() {
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { _ in }) != nil)
        // A router passed it on: it comes from beyond the link.
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[21] = 254 }) == nil)
        // Another code, a multicast target, a solicited answer to all, an option of no length and one that overruns.
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[55] = 1 }) == nil)
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[62] = 0xFF }) == nil)
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[58] |= 0x40 }) == nil)
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[79] = 0 }) == nil)
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[79] = 2 }) == nil)
        // A probe that does not go to its group; an advertisement from nobody; a probe with a MAC.
        #expect(NeighbourFrame(decoding: changed(Self.probe) { $0[53] = 0x11 }) == nil)
        #expect(
            NeighbourFrame(
                decoding: changed(Self.advertisement) { $0.replaceSubrange(22..<38, with: repeatElement(0, count: 16)) }
            ) == nil)
        #expect(
            NeighbourFrame(
                decoding: changed(Self.probe + [1, 1] + Self.mac) { $0[19] = 32 }) == nil)
        // A router's advertisement is another message.
        #expect(NeighbourFrame(decoding: changed(Self.advertisement) { $0[54] = 134 }) == nil)
        var damaged = Self.advertisement
        damaged[70] ^= 1
        #expect(NeighbourFrame(decoding: damaged) == nil)
    }

    @Test("any bytes are decoded without harm, and whole prefixes of a frame are none")
    func total() {
        var generator = SeededGenerator(state: 7)
        for _ in 0..<20_000 {
            var bytes = Self.advertisement
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 12..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            let cut = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator)))
            _ = NeighbourFrame(decoding: cut)
            _ = NeighbourFrame(decoding: cut.count > 62 ? changed(cut) { _ in } : cut)
        }
        for length in 0..<Self.advertisement.count {
            #expect(NeighbourFrame(decoding: Self.advertisement.prefix(length)) == nil)
        }
    }

    @Test("what a message says: the target is its sender's, or its source address, or he asks for it")
    func sightings() throws {
        let announced = try #require(NeighbourFrame(decoding: Self.advertisement).flatMap(AddressSighting.init))
        let mac = try #require(HardwareAddress(Self.mac))
        #expect(announced == AddressSighting(address: address, hardwareAddress: mac, claimant: .holder))
        let asked = try #require(NeighbourFrame(decoding: Self.probe).flatMap(AddressSighting.init))
        #expect(asked == AddressSighting(address: address, hardwareAddress: mac, claimant: .rival))
        // Who asks for a neighbour names himself.
        let other = try #require(IPAddress("2001:db8::99"))
        let solicitation = changed(Self.probe + [1, 1, 2, 0, 0x5E, 0, 0, 9]) {
            $0[19] = 32
            $0.replaceSubrange(22..<38, with: other.bytes)
        }
        let named = try #require(NeighbourFrame(decoding: solicitation).flatMap(AddressSighting.init))
        #expect(named.address == other && named.claimant == .holder)
        #expect(named.hardwareAddress.description == "02:00:5e:00:00:09")
    }
}
