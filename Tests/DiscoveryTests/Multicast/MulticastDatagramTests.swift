import Platform
import Testing

@testable import Discovery

@Suite("multicast: datagrams")
struct MulticastDatagramTests {
    private static let counting = MulticastNonce(high: 0x0001_0203_0405_0607, low: 0x0809_0A0B_0C0D_0E0F)
    private static let ones = MulticastNonce(high: .max, low: .max)
    private static let digest = [UInt8](repeating: 7, count: 16)
    private static let record = MulticastRecord(
        nodeID: "n1", address: HostPort(host: "10.0.0.1", port: 8800), name: "alpha", clusterID: nil)

    private static let messages: [MulticastMessage] = [
        .question(nonce: counting, nodeID: ""),
        .question(nonce: ones, nodeID: "8d9f3a52-59a4-4f4e-9a58-0d2b6a1f9f11"),
        .answer(nonces: [counting], record),
        .answer(
            nonces: [MulticastNonce](repeating: ones, count: 16),
            MulticastRecord(
                nodeID: "n2", address: HostPort(host: "fd00::2", port: 1), name: "ünï", clusterID: "c-1")),
        .notice,
    ]

    /// What another implementation of the layout in the comment of `MulticastDatagram` makes.
    @Test("the bytes on the wire are as documented, and stay so")
    func wireFormat() {
        let plain = MulticastSeal("blue", secret: nil)
        let question = bytes("6471766d01010000e490b2968dd29062dc633735f96a1290000102030405060708090a0b0c0d0e0f026e31")
        #expect(plain.close(.question(nonce: Self.counting, nodeID: "n1")) == question)
        #expect(plain.open(question) == .message(.question(nonce: Self.counting, nodeID: "n1")))

        let sealed = MulticastSeal("blue", secret: "s3cret")
        let answer = bytes(
            """
            6471766d01020100e490b2968dd29062dc633735f96a129002000102030405060708090a0b0c0d0e0fffffffffffffffff
            ffffffffffffffff026e310d31302e302e302e313a3838303005616c706861005799783e30ab132c0bdc0ef5125745f19f
            f61e82fc85c1447b9953917f067808
            """)
        #expect(sealed.close(.answer(nonces: [Self.counting, Self.ones], Self.record)) == answer)
        #expect(sealed.open(answer) == .message(.answer(nonces: [Self.counting, Self.ones], Self.record)))
        let notice = bytes(
            "6471766d01030100e490b2968dd29062dc633735f96a129086e5cd154496e46a10165fa4707c4cabaa1c301baffca6d4d0b2e180443c1982"
        )
        #expect(sealed.close(.notice) == notice)
        #expect(sealed.open(notice) == .message(.notice))
    }

    @Test("every message is read as it was written", arguments: messages)
    func roundTrip(message: MulticastMessage) throws {
        let encoded = try #require(
            MulticastDatagram.encode(message, keyDigest: Self.digest, isAuthenticated: false))
        let (header, decoded) = try MulticastDatagram.decode(encoded)
        #expect(decoded == message)
        #expect(header.keyDigest == Self.digest)
        #expect(!header.isAuthenticated)
    }

    @Test("a datagram that is cut anywhere, or has a byte too many, is refused", arguments: messages)
    func truncation(message: MulticastMessage) throws {
        let whole = try #require(MulticastDatagram.encode(message, keyDigest: Self.digest, isAuthenticated: false))
        for length in 0..<whole.count {
            #expect(throws: MulticastDatagramFault.self) { try MulticastDatagram.decode(Array(whole[..<length])) }
        }
        #expect(throws: MulticastDatagramFault.malformed("1 bytes too many")) {
            try MulticastDatagram.decode(whole + [0])
        }
    }

    @Test("another version and another protocol are foreign, not malformed")
    func foreign() throws {
        var bytes = try #require(MulticastDatagram.encode(.notice, keyDigest: Self.digest, isAuthenticated: false))
        bytes[4] = 2
        #expect(throws: MulticastDatagramFault.foreign) { try MulticastDatagram.decode(bytes) }
        #expect(throws: MulticastDatagramFault.foreign) { try MulticastDatagram.decode(Array("hello, world".utf8)) }
        #expect(throws: MulticastDatagramFault.foreign) { try MulticastDatagram.decode([]) }
    }

    @Test("no bytes crash the decoder, and what it takes has one encoding only")
    func anyBytes() throws {
        var dice = Dice(seed: 4711)
        let seeds = try Self.messages.flatMap { message in
            try [false, true].map {
                let bytes = MulticastDatagram.encode(message, keyDigest: Self.digest, isAuthenticated: $0)
                return try #require(bytes) + [UInt8](repeating: 9, count: $0 ? 32 : 0)
            }
        }
        var accepted = 0
        for _ in 0..<10_000 {
            var bytes = seeds[Int.random(in: seeds.indices, using: &dice)]
            for _ in 0..<Int.random(in: 0...3, using: &dice) where !bytes.isEmpty {
                let place = Int.random(in: bytes.indices, using: &dice)
                switch Int.random(in: 0...3, using: &dice) {
                case 0: bytes[place] = .random(in: .min ... .max, using: &dice)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(.random(in: .min ... .max, using: &dice), at: place)
                default: bytes.removeSubrange(place...)
                }
            }
            guard let (header, message) = try? MulticastDatagram.decode(bytes) else { continue }
            accepted += 1
            let again = MulticastDatagram.encode(
                message, keyDigest: header.keyDigest, isAuthenticated: header.isAuthenticated)
            #expect(again.map { $0 + bytes.suffix(header.isAuthenticated ? 32 : 0) } == bytes)
        }
        #expect(accepted > 2000)
    }

    @Test(
        "an answer without node id, or with an address that no host has, is refused",
        arguments: ["0.0.0.0:8800", "[::]:8800", "239.1.2.3:8800", "[ff02::1]:8800", "255.255.255.255:8800"])
    func uselessRecords(text: String) throws {
        var record = Self.record
        record.address = try HostPort(parsing: text)
        #expect(
            MulticastDatagram.encode(
                .answer(nonces: [Self.ones], record), keyDigest: Self.digest, isAuthenticated: false) == nil)
        #expect(throws: MulticastDatagramFault.malformed("\(text) is no host's address")) {
            try MulticastDatagram.decode(Self.answer(id: "n1", address: text, name: "", cluster: ""))
        }
    }

    @Test("texts that would disturb a log or a terminal are refused, and so are those that are too long")
    func texts() {
        func decode(id: String = "n1", address: String = "10.0.0.1:8800", name: String = "", cluster: String = "")
            -> Bool
        {
            (try? MulticastDatagram.decode(Self.answer(id: id, address: address, name: name, cluster: cluster))) != nil
        }
        #expect(decode())
        #expect(!decode(id: ""))
        #expect(decode(id: String(repeating: "x", count: 64)))
        #expect(!decode(id: String(repeating: "x", count: 65)))
        #expect(decode(name: String(repeating: "x", count: 64)))
        #expect(!decode(name: String(repeating: "x", count: 65)))
        #expect(!decode(cluster: String(repeating: "x", count: 65)))
        for text in ["a\nb", "a\u{1B}[31m", "a\u{0}", "a\u{202E}b", "a\u{2028}b", "\u{85}"] {
            #expect(!decode(name: text), "\(text.debugDescription)")
            #expect(!decode(id: text), "\(text.debugDescription)")
        }
        for address in ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:08800", ":8800", "[::1]", "a b:1", "fd00::1:8800"] {
            #expect(!decode(address: address), "\(address)")
        }
        var latin1 = Self.answer(id: "n1", address: "10.0.0.1:8800", name: "ab", cluster: "")
        latin1[latin1.count - 2] = 0xFF
        #expect(throws: MulticastDatagramFault.malformed("a text that is not UTF-8")) {
            try MulticastDatagram.decode(latin1)
        }
    }

    private static func answer(id: String, address: String, name: String, cluster: String) -> [UInt8] {
        let texts = [id, address, name, cluster].flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        return Array("dqvm".utf8) + [1, 2, 0, 0] + digest + [1] + [UInt8](repeating: 255, count: 16) + texts
    }

    @Test("any name can be announced: what may not stand there is left out, and what is too long is cut")
    func names() {
        #expect(MulticastDatagram.name(from: "a\nb\u{202E}c") == "abc")
        #expect(MulticastDatagram.name(from: String(repeating: "ü", count: 40)) == String(repeating: "ü", count: 32))
        #expect(MulticastDatagram.name(from: "👩‍👩‍👧").utf8.count <= 64)
    }

    @Test("the longest datagram fits into every link that carries IPv6, a usual answer into a few hundred bytes")
    func sizes() throws {
        func size(_ record: MulticastRecord, nonces: Int) throws -> Int {
            let message = MulticastMessage.answer(nonces: [MulticastNonce](repeating: Self.ones, count: nonces), record)
            return try #require(MulticastSeal(secret: "x").close(message)).count
        }
        let long = MulticastRecord(
            nodeID: String(repeating: "i", count: 64),
            address: HostPort(host: String(repeating: "a", count: 249), port: 65535),
            name: String(repeating: "n", count: 64), clusterID: String(repeating: "c", count: 64))
        // 40 bytes of IPv6 header, 8 of UDP.
        #expect(try size(long, nonces: 16) <= 1280 - 48)
        let usual = MulticastRecord(
            nodeID: "8d9f3a52-59a4-4f4e-9a58-0d2b6a1f9f11", address: HostPort(host: "192.168.100.100", port: 8800),
            name: "db1.example.com", clusterID: "8d9f3a52-59a4-4f4e-9a58-0d2b6a1f9f11")
        #expect(try size(usual, nonces: 1) < 256)
    }
}

@Suite("multicast: authentication")
struct MulticastSealTests {
    private static let question = MulticastMessage.question(nonce: MulticastNonce(high: 1, low: 2), nodeID: "n1")

    @Test("with a secret no bit of a datagram can be changed")
    func everyBit() throws {
        let seal = MulticastSeal(secret: "s3cret")
        let bytes = try #require(seal.close(.answer(nonces: [MulticastNonce(high: 1, low: 2)], .test(1))))
        for bit in 0..<(bytes.count * 8) {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            if case .message = seal.open(changed) { Issue.record("bit \(bit) is not protected") }
        }
    }

    @Test("another secret, none there and none here are told apart")
    func mismatches() throws {
        let (none, ours, theirs) = (
            MulticastSeal(secret: nil), MulticastSeal(secret: "ours"), MulticastSeal(secret: "theirs")
        )
        let plain = try #require(none.close(Self.question))
        let sealed = try #require(theirs.close(Self.question))
        #expect(ours.open(sealed) == .mismatch(.otherSecret, .question))
        #expect(ours.open(plain) == .mismatch(.noSecretThere, .question))
        #expect(none.open(sealed) == .mismatch(.noSecretHere, .question))
        #expect(ours.open(try #require(theirs.close(.notice))) == .mismatch(.otherSecret, .notice))
    }

    @Test("another disco key is foreign, whatever the secret")
    func otherKey() throws {
        let green = MulticastSeal("green", secret: "s3cret")
        let bytes = try #require(green.close(Self.question))
        #expect(MulticastSeal("blue", secret: "s3cret").open(bytes) == .foreign)
        #expect(MulticastSeal("blue", secret: nil).open(bytes) == .foreign)
    }

    @Test("an authenticated datagram that is malformed is no mismatch")
    func authenticButMalformed() throws {
        // Signed by whoever has the secret: a later version with a longer question, say.
        let seal = MulticastSeal("blue", secret: nil)
        let bytes = try #require(seal.close(Self.question)) + [0]
        #expect(seal.open(bytes) == .malformed("1 bytes too many"))
    }
}
