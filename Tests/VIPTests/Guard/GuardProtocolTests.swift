import Platform
import Testing

@testable import VIP

@Suite("guard: records")
struct GuardProtocolTests {
    private func bytes(of record: GuardRecord) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xAA, count: GuardRecord.size)
        bytes.withUnsafeMutableBytes { record.encode(into: $0) }
        return bytes
    }

    private func decode(_ bytes: [UInt8]) -> GuardRecord? {
        bytes.withUnsafeBytes { GuardRecord(decoding: $0) }
    }

    @Test("the bytes of each kind of record are as documented")
    func layout() throws {
        let v4 = GuardedAddress(try VirtualAddress(parsing: "192.0.2.10/24"), interfaceIndex: 0x0102)
        let v6 = GuardedAddress(try VirtualAddress(parsing: "2001:db8::17/64"), interfaceIndex: 3)
        #expect(
            bytes(of: .hold(v4, slot: try #require(LeaseSlot(0x01FE))))
                == hex(
                    """
                    02 01 04 18  02010000                    // version, hold, IPv4, /24, interface 258
                    C000020A 00000000 00000000 00000000      // 192.0.2.10
                    FE010000 00000000                        // slot 510
                    """))
        #expect(
            bytes(of: .release(v6))
                == hex("02020640 03000000 20010DB8 00000000 00000000 00000017 00000000 00000000"))
        let rest = [UInt8](repeating: 0, count: 30)
        #expect(bytes(of: .releaseAll) == [2, 3] + rest)
        #expect(bytes(of: .ready) == [2, 4] + rest)
        #expect(bytes(of: .stop) == [2, 5] + rest)
        #expect(bytes(of: .look) == [2, 6] + rest)
    }

    @Test("an address comes back as it was")
    func virtualAddress() throws {
        for text in ["192.0.2.10/24", "10.0.0.1/32", "2001:db8::17/64", "fd00::ff/128"] {
            let address = try VirtualAddress(parsing: text)
            #expect(GuardedAddress(address, interfaceIndex: 7).virtualAddress == address)
        }
    }

    @Test("what decodes encodes to the same bytes, and any bytes decode or are refused", arguments: 1...8)
    func total(seed: UInt64) throws {
        var generator = SeededGenerator(state: seed)
        let address = GuardedAddress(try VirtualAddress(parsing: "192.0.2.10/24"), interfaceIndex: 2)
        let records: [GuardRecord] = [
            .hold(address, slot: .lead), .release(address), .releaseAll, .ready, .stop, .look,
        ]
        var accepted = 0
        for round in 0..<20_000 {
            // Sound records with up to three bytes changed come nearer to every check than pure chance.
            var candidate = bytes(of: records[round % records.count])
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                candidate[Int.random(in: 0..<32, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if let record = decode(candidate) {
                accepted += 1
                #expect(bytes(of: record) == candidate, "seed \(seed), round \(round)")
            }
        }
        #expect(accepted > 1000)
    }

    @Test(
        "a record that is cut, too long, of another version or with impossible fields is refused",
        arguments: [
            "",
            "02030000 00000000 00000000 00000000 00000000 00000000 00000000 000000",
            "02030000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00",
            "01030000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",  // version 1
            "02070000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",  // kind 7
            "02030000 00000000 00000000 00000000 00000000 00000000 00000000 00000001",  // release all, not zero
            "02060000 00000000 00000000 00000000 00000000 00000000 01000000 00000000",  // look with a slot
            "02010421 02000000 C000020A 00000000 00000000 00000000 01000000 00000000",  // /33
            "02010518 02000000 C000020A 00000000 00000000 00000000 01000000 00000000",  // family 5
            "02010418 00000000 C000020A 00000000 00000000 00000000 01000000 00000000",  // interface 0
            "02010418 02000000 C000020A 00000000 00000000 00000001 01000000 00000000",  // 17th byte of an IPv4
            "02010418 02000000 C000020A 00000000 00000000 00000000 00020000 00000000",  // slot 512
            "02010418 02000000 C000020A 00000000 00000000 00000000 01000000 00000080",  // slot beyond 16 bits
            "02020418 02000000 C000020A 00000000 00000000 00000000 01000000 00000000",  // release with a slot
        ])
    func refused(text: String) {
        #expect(decode(hex(text)) == nil)
    }
}
