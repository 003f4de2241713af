import Platform
import Testing

@testable import Discovery

@Suite struct DNSMessageTests {
    private static func name(_ text: String) -> DNSName { DNSName(written: text) }

    private static func texts(_ records: [DNSRecord]) -> [String] {
        records.compactMap { $0.address?.description }
    }

    @Test("addresses of both families, with the smallest TTL, compressed or not, in upper or lower case")
    func addresses() throws {
        var message = MessageBuilder(counts: (1, 4, 0, 0))
        message.question("Nodes.Lab", type: 1)
        message.record(MessageBuilder.pointer(to: 12), type: 1, ttl: 30, [10, 0, 0, 2])
        message.record("NODES.LAB", type: 1, ttl: 7, [10, 0, 0, 1])
        message.record(
            MessageBuilder.pointer(to: 12), type: 28, ttl: 1, [0xFD] + [UInt8](repeating: 0, count: 14) + [9])
        message.record("other.lab", type: 1, [10, 0, 0, 3])
        let decoded = try DNSMessage(message.bytes)
        #expect(decoded.code == .noError && decoded.isAuthoritative && decoded.offersRecursion && !decoded.isTruncated)
        let v4 = try decoded.resolve(Self.name("nodes.lab."), .a)
        #expect(Self.texts(v4.records) == ["10.0.0.2", "10.0.0.1"] && v4.ttl == 7)
        #expect(try Self.texts(decoded.resolve(Self.name("nodes.lab"), .aaaa).records) == ["fd00::9"])
        #expect(try decoded.resolve(Self.name("nodes.lab"), .srv).records.isEmpty)
    }

    @Test("aliases are followed in any order of the records, and shorten the TTL")
    func aliases() throws {
        var message = MessageBuilder(counts: (1, 3, 0, 0))
        message.question("a.lab", type: 1)
        message.record("c.lab", type: 1, ttl: 60, [10, 0, 0, 1])
        message.record("b.lab", type: 5, ttl: 3, MessageBuilder.name("c.lab"))
        message.record("a.lab", type: 5, ttl: 60, MessageBuilder.name("B.lab"))
        let found = try DNSMessage(message.bytes).resolve(Self.name("a.lab"), .a)
        #expect(Self.texts(found.records) == ["10.0.0.1"])
        #expect(found.canonicalName.text == "c.lab" && found.ttl == 3)
        let none = try DNSMessage(message.bytes).resolve(Self.name("a.lab"), .aaaa)
        #expect(none.records.isEmpty && none.canonicalName.text == "c.lab")
    }

    @Test("aliases in a circle are a fault, and no loop")
    func aliasCircle() throws {
        let message = try DNSMessage(
            MessageBuilder.answer(
                "a.lab", type: 1,
                [("a.lab", 5, MessageBuilder.name("b.lab")), ("b.lab", 5, MessageBuilder.name("a.lab"))]))
        #expect(throws: DNSFault.aliases) { try message.resolve(Self.name("a.lab"), .a) }
    }

    @Test("services with their targets' addresses from the additional section")
    func services() throws {
        var message = MessageBuilder(counts: (1, 2, 0, 3))
        message.question("_x._tcp.lab", type: 33)
        message.record(
            MessageBuilder.pointer(to: 12), type: 33, MessageBuilder.service(1, 2, 8801, MessageBuilder.name("N1.lab")))
        // RFC 2782 forbids compression here, and servers do it all the same.
        message.record(
            MessageBuilder.pointer(to: 12), type: 33, MessageBuilder.service(3, 4, 8802, [0])
        )
        message.record("n1.lab", type: 1, [10, 0, 0, 1])
        message.record("n1.lab", type: 28, [UInt8](repeating: 0xFD, count: 16))
        message.record([0], type: 41, class: 1232, ttl: 0, [])
        let decoded = try DNSMessage(message.bytes)
        let services = try decoded.resolve(Self.name("_x._tcp.lab"), .srv).records.compactMap(\.service)
        #expect(
            services == [
                DNSService(priority: 1, weight: 2, port: 8801, target: Self.name("n1.lab")),
                DNSService(priority: 3, weight: 4, port: 8802, target: .root),
            ])
        #expect(decoded.additionalAddresses[Self.name("n1.lab")]?.count == 2)
    }

    @Test("a compressed target is read")
    func compressedTarget() throws {
        var message = MessageBuilder(counts: (1, 1, 0, 0))
        message.question("_x._tcp.lab", type: 33)
        // "lab" begins after the header, "_x" and "_tcp".
        let target = [2] + Array("n1".utf8) + MessageBuilder.pointer(to: 12 + 3 + 5)
        message.record(MessageBuilder.pointer(to: 12), type: 33, MessageBuilder.service(0, 0, 1, target))
        let services = try DNSMessage(message.bytes).resolve(Self.name("_x._tcp.lab"), .srv).records
        #expect(services.first?.service?.target.text == "n1.lab")
    }

    @Test("other types, other classes and the upper bits of the RCODE")
    func others() throws {
        var message = MessageBuilder(code: 0, counts: (1, 3, 1, 1))
        message.question("a.lab", type: 1)
        message.record("a.lab", type: 16, [3, 1, 2, 3])
        message.record(MessageBuilder.name("a.lab"), type: 1, class: 3, [10, 0, 0, 9])
        message.record("a.lab", type: 1, ttl: 0xFFFF_FFFF, [10, 0, 0, 1])
        message.record("lab", type: 6, [0, 0])
        message.record([0], type: 41, class: 1232, ttl: 0x0100_0000, [])
        let decoded = try DNSMessage(message.bytes)
        #expect(decoded.answers.count == 1)
        #expect(decoded.answers.first?.ttl == 0, "RFC 2181 section 8: a TTL with the highest bit set is 0")
        #expect(decoded.code == .badVersion)
    }

    @Test("a truncated message has the records that are whole")
    func truncated() throws {
        let whole = MessageBuilder.answer(
            "a.lab", type: 1, flags: MessageBuilder.usualFlags | MessageBuilder.truncated,
            [("a.lab", 1, [10, 0, 0, 1]), ("a.lab", 1, [10, 0, 0, 2])])
        let decoded = try DNSMessage(Array(whole.dropLast(3)))
        #expect(decoded.isTruncated && Self.texts(decoded.answers) == ["10.0.0.1"])
        #expect(try DNSMessage(Array(whole.prefix(14))).answers.isEmpty)
        #expect(throws: DNSFault.short) { try DNSMessage(Array(whole.prefix(11))) }
    }

    @Test("a message that ends anywhere is a fault")
    func short() {
        let whole = MessageBuilder.answer(
            "a.lab", type: 33, [("a.lab", 33, MessageBuilder.service(1, 1, 1, MessageBuilder.name("b.lab")))],
            additional: [("b.lab", 1, [10, 0, 0, 1])])
        #expect(throws: Never.self) { try DNSMessage(whole) }
        for count in 0..<whole.count {
            #expect(throws: DNSFault.short) { try DNSMessage(Array(whole.prefix(count))) }
        }
    }

    @Test("counts that promise more than there is are a fault")
    func hugeCounts() {
        var message = MessageBuilder(counts: (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF))
        message.question("a.lab", type: 1)
        #expect(throws: DNSFault.short) { try DNSMessage(message.bytes) }
    }

    @Test("names that point to themselves, forwards, or in a circle are a fault")
    func pointers() {
        func decode(_ name: [UInt8]) throws -> DNSMessage {
            var message = MessageBuilder(counts: (0, 1, 0, 0))
            message.record(name, type: 1, [10, 0, 0, 1])
            return try DNSMessage(message.bytes)
        }
        #expect(throws: DNSFault.pointer) { try decode(MessageBuilder.pointer(to: 12)) }
        #expect(throws: DNSFault.pointer) { try decode(MessageBuilder.pointer(to: 13)) }
        #expect(throws: DNSFault.pointer) { try decode(MessageBuilder.pointer(to: 0x3FFF)) }
        #expect(throws: DNSFault.pointer) { try decode([1, 0x61] + MessageBuilder.pointer(to: 12)) }
        #expect(throws: DNSFault.labelType(0x40)) { try decode([0x40, 0]) }
        #expect(throws: DNSFault.labelType(0x80)) { try decode([0x80, 0]) }
    }

    @Test("a name of 255 bytes is the longest")
    func longNames() throws {
        func decode(lastLabel: Int) throws -> DNSMessage {
            let label = [UInt8(63)] + [UInt8](repeating: 0x61, count: 63)
            let last = [UInt8(lastLabel)] + [UInt8](repeating: 0x62, count: lastLabel)
            var message = MessageBuilder(counts: (0, 1, 0, 0))
            message.record(label + label + label + last + [0], type: 1, [10, 0, 0, 1])
            return try DNSMessage(message.bytes)
        }
        #expect(try decode(lastLabel: 61).answers.first?.name.text.utf8.count == 253)
        #expect(throws: DNSFault.longName) { try decode(lastLabel: 62) }
    }

    @Test("a long name made of pointers is a fault as well, whatever the number of its parts")
    func longNamesOfPointers() {
        // Each question's name is a label and the name before it.
        var message = MessageBuilder(counts: (200, 0, 0, 0))
        var previous: Int?
        for _ in 0..<200 {
            let start = message.bytes.count
            message.bytes += [1, 0x61] + (previous.map { MessageBuilder.pointer(to: $0) } ?? [0])
            message.add(1, 1)
            previous = start
        }
        #expect(throws: DNSFault.longName) { try DNSMessage(message.bytes) }
    }

    @Test("bytes of names that are no visible ASCII, and dots within labels, are escaped")
    func oddNames() throws {
        var message = MessageBuilder(counts: (0, 1, 0, 0))
        message.record([7, 0x41, 0x2E, 0x5C, 0x00, 0xFF, 0x20, 0x7E, 1, 0x62, 0], type: 1, [10, 0, 0, 1])
        #expect(try DNSMessage(message.bytes).answers.first?.name.text == #"a\.\\\000\255\032~.b"#)
    }

    @Test(
        "data of the wrong length for their type are a fault",
        arguments: [
            (1, [10, 0, 0]), (1, [10, 0, 0, 1, 1]), (1, [UInt8](repeating: 0, count: 16)), (28, [10, 0, 0, 1]),
            (33, [0, 0, 0, 0, 0, 1]), (33, [0, 0, 0, 0, 0, 1, 0, 0]), (5, [0, 0]), (5, []),
        ] as [(UInt16, [UInt8])])
    func dataLength(type: UInt16, data: [UInt8]) {
        #expect(throws: DNSFault.self) { try DNSMessage(MessageBuilder.answer("a", type: 1, [("a", type, data)])) }
    }

    @Test("an alias that reads on into the next record is a fault")
    func aliasBeyondItsData() {
        // The length of the data says 2, the name in it has 5 bytes.
        var message = MessageBuilder(counts: (0, 1, 0, 0))
        message.record([0], type: 5, [3, 0x61])
        message.bytes += [0x61, 0x61, 0]
        #expect(throws: DNSFault.dataLength(type: 5, 2)) { try DNSMessage(message.bytes) }
    }

    @Test("twenty thousand damaged messages: each decodes or is a fault, and what decodes can be resolved")
    func mutations() throws {
        var dice = Dice(seed: 0xD05)
        var seeds: [[UInt8]] = [
            MessageBuilder.answer(
                "a.lab", type: 1, [("a.lab", 5, MessageBuilder.name("b.lab")), ("b.lab", 1, [10, 0, 0, 1])]),
            MessageBuilder.answer(
                "_x._tcp.lab", type: 33,
                [("_x._tcp.lab", 33, MessageBuilder.service(1, 1, 1, MessageBuilder.name("n.lab")))],
                additional: [("n.lab", 28, [UInt8](repeating: 1, count: 16))]),
        ]
        var compressed = MessageBuilder(counts: (1, 2, 0, 0))
        compressed.question("a.lab", type: 1)
        compressed.record(MessageBuilder.pointer(to: 12), type: 5, [1, 0x62] + MessageBuilder.pointer(to: 14))
        compressed.record([1, 0x62] + MessageBuilder.pointer(to: 14), type: 1, [10, 0, 0, 1])
        seeds.append(compressed.bytes)
        let question = Self.name("a.lab")
        var decodedCount = 0
        for _ in 0..<20_000 {
            var bytes = seeds[Int.random(in: 0..<seeds.count, using: &dice)]
            for _ in 0..<Int.random(in: 1...4, using: &dice) {
                let place = Int.random(in: 0..<bytes.count, using: &dice)
                switch Int.random(in: 0..<4, using: &dice) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &dice)
                case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &dice)
                case 2: bytes.removeSubrange(place..<min(bytes.count, place + 3))
                default: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 9)], at: place)
                }
                if bytes.isEmpty { break }
            }
            guard let message = try? DNSMessage(bytes) else { continue }
            decodedCount += 1
            for type in [DNSRecordType.a, .aaaa, .srv] {
                if let found = try? message.resolve(question, type) { #expect(found.records.count <= bytes.count / 11) }
            }
            #expect(message.answers.allSatisfy { $0.name.text.utf8.count <= 4 * 255 })
        }
        #expect(decodedCount > 2000, "damage must not be so bad that nothing is tested")
    }
}
