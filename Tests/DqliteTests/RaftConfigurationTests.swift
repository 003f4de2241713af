import Dqlite
import Testing

@Suite("The members in raft's log")
struct RaftConfigurationTests {
    private typealias Member = RaftConfiguration.Member
    private static let three = [
        Member(id: 1, address: "10.0.0.1:8800", role: .voter),
        Member(id: 1 << 60, address: "[fd00::2]:8800", role: .voter),
        Member(id: 3, address: "", role: .spare),
    ]

    /// raft's encoding, padded to a word.
    private static func encode(_ members: [Member]) -> [UInt8] {
        var bytes: [UInt8] = [1]
        func word(_ value: UInt64) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
        word(UInt64(members.count))
        for member in members {
            word(member.id)
            bytes += Array(member.address.utf8) + [0, member.isVoter ? 1 : 2]
        }
        return bytes + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
    }

    private static func frame(_ entries: [(kind: UInt8, data: [UInt8])]) -> [UInt8] {
        var frame = WireEncoder()
        for word in [1, UInt64(48 + 16 * entries.count), 5, 10, 4, 9, UInt64(entries.count)] { frame.integer(word) }
        for entry in entries {
            frame.integer(UInt64(5))
            frame.integer(UInt64(entry.kind) | 0x11_2200 | UInt64(entry.data.count) << 32)
        }
        frame.integer(UInt64(0xDEAD_BEEF))
        return frame.bytes + entries.flatMap(\.data)
    }

    private static func named(_ bytes: [UInt8]) -> RaftConfiguration.Named {
        bytes.withUnsafeBytes { RaftConfiguration.newest(inAppendEntries: $0, after: 10) }
    }

    private static func decode(_ bytes: [UInt8]) -> RaftConfiguration? {
        guard case .configuration(let configuration, _) = named(bytes) else { return nil }
        return configuration
    }

    @Test("the newest configuration among the entries counts")
    func newest() {
        let command = (kind: UInt8(1), data: [UInt8](repeating: 0xAB, count: 4152))
        let frame = Self.frame([
            command, (3, Self.encode([Self.three[0]])), command, (3, Self.encode(Self.three)),
            (2, [0, 0, 0, 0, 0, 0, 0, 0]),
        ])
        #expect(Self.decode(frame)?.members == Self.three)
        #expect(Self.decode(frame)?.voters == [1, 1 << 60])
        #expect(Self.named(frame) == .configuration(RaftConfiguration(members: Self.three), index: 14))
        #expect(Self.named(Self.frame([command])) == .none && Self.named(Self.frame([])) == .none)
    }

    @Test("a configuration that cannot be decoded is not taken for none")
    func undecodable() {
        let strange = (kind: UInt8(3), data: [UInt8](repeating: 9, count: 16))
        #expect(Self.named(Self.frame([strange])) == .undecodable)
        #expect(Self.named(Self.frame([(3, Self.encode(Self.three)), strange])) == .undecodable)
    }

    @Test("what is cut off or changed anywhere crashes nothing and invents no member")
    func damaged() {
        let whole = Self.frame([(3, Self.encode(Self.three))])
        for count in 0..<(whole.count - 7) { #expect(Self.decode(Array(whole[..<count])) == nil, "\(count) bytes") }
        for index in whole.indices {
            var changed = whole
            changed[index] ^= 0xFF
            _ = Self.decode(changed)
        }
    }
}
