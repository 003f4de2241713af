import FoundationEssentials
import Platform
import Testing

@Suite struct IPAddressTests {
    @Test(
        "an address is written back in its canonical form",
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
            ("::", "::"), ("::1", "::1"), ("FD00:0:0:0::1", "fd00::1"), ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ])
    func canonical(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(bytes: address.bytes) == address)
        #expect(address.bytes.count * 8 == address.family.bits)
    }

    @Test(
        "what inet_pton refuses is no address",
        arguments: [
            "", " ", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/24", "01.2.3.4", "0x1.2.3.4",
            "1.2.3.4\0", "\0", "[::1]", "::1%eth0", "fe80::1%lo", "1::2::3", ":", ":::", "12345::", "g::", "1.2.3.-4",
            "host", "１.2.3.4",
        ])
    func refused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("only 4 and 16 bytes make an address", arguments: 0...20)
    func byteCounts(count: Int) {
        #expect((IPAddress(bytes: [UInt8](repeating: 7, count: count)) != nil) == (count == 4 || count == 16))
    }

    @Test("special addresses are recognised, and their neighbours are not")
    func classes() throws {
        func check(_ text: String, _ property: (IPAddress) -> Bool) throws -> Bool {
            property(try #require(IPAddress(text)))
        }
        #expect(try check("0.0.0.0") { $0.isUnspecified } && check("::") { $0.isUnspecified })
        #expect(try !check("0.0.0.1") { $0.isUnspecified } && !check("::1") { $0.isUnspecified })
        #expect(try check("127.0.0.1") { $0.isLoopback } && check("127.255.255.255") { $0.isLoopback })
        #expect(try check("::1") { $0.isLoopback })
        #expect(try !check("128.0.0.1") { $0.isLoopback } && !check("126.255.255.255") { $0.isLoopback })
        #expect(try !check("::2") { $0.isLoopback } && !check("1::1") { $0.isLoopback })
        #expect(try check("224.0.0.0") { $0.isMulticast } && check("239.255.255.255") { $0.isMulticast })
        #expect(try !check("223.255.255.255") { $0.isMulticast } && !check("240.0.0.0") { $0.isMulticast })
        #expect(try check("ff02::1") { $0.isMulticast } && !check("fe80::1") { $0.isMulticast })
        #expect(try check("169.254.0.0") { $0.isLinkLocal } && !check("169.253.255.255") { $0.isLinkLocal })
        #expect(try check("fe80::1") { $0.isLinkLocal } && check("febf::1") { $0.isLinkLocal })
        #expect(try !check("fec0::1") { $0.isLinkLocal })
        #expect(try check("255.255.255.255") { $0.isLimitedBroadcast })
        #expect(try !check("255.255.255.254") { $0.isLimitedBroadcast })
    }

    @Test("addresses sort by family, then by value and not by text")
    func order() {
        let texts = ["10.0.0.9", "10.0.0.10", "9.255.255.255", "::1", "1::"]
        let sorted = texts.compactMap { IPAddress($0) }.sorted().map(\.description)
        #expect(sorted == ["9.255.255.255", "10.0.0.9", "10.0.0.10", "::1", "1::"])
    }

    @Test("an address is a text in JSON, and a bad one is refused with its value")
    func json() throws {
        let address = try #require(IPAddress("fd00::1"))
        let data = try JSONEncoder().encode([address])
        #expect(String(decoding: data, as: UTF8.self) == #"["fd00::1"]"#)
        #expect(try JSONDecoder().decode([IPAddress].self, from: data) == [address])
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([IPAddress].self, from: Data(#"["1.2.3"]"#.utf8))
        }
    }

    @Test("no text crashes the parser, and what it takes it writes and reads back")
    func fuzz() {
        let seed = UInt64.random(in: .min ... .max)
        var dice = Dice(seed: seed)
        let alphabet = Array("0123456789abcdefABCDEF.:%/[] x\0é")
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...40, using: &dice)
            let text = String((0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &dice)] })
            guard let address = IPAddress(text) else { continue }
            #expect(IPAddress(address.description) == address, "\(text) with seed \(seed)")
        }
        for _ in 0..<5_000 {
            let bytes = (0..<(Bool.random(using: &dice) ? 4 : 16)).map { _ in UInt8.random(in: 0...255, using: &dice) }
            guard let address = IPAddress(bytes: bytes) else {
                Issue.record("\(bytes) make no address, seed \(seed)")
                continue
            }
            #expect(IPAddress(address.description) == address, "\(bytes) with seed \(seed)")
        }
    }
}
