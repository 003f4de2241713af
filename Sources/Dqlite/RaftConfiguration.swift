/// The members that a raft log entry of a configuration change lists (libraft's src/configuration.c).
public struct RaftConfiguration: Hashable, Sendable {
    public struct Member: Hashable, Sendable {
        public var id: DqliteNodeID
        public var address: String
        public var role: DqliteRole

        public var isVoter: Bool { role == .voter }

        public init(id: DqliteNodeID, address: String, role: DqliteRole) {
            self.id = id
            self.address = address
            self.role = role
        }
    }

    public var members: [Member]

    public init(members: [Member]) {
        self.members = members
    }

    /// The ids of those that vote.
    public var voters: [DqliteNodeID] { members.filter(\.isVoter).map(\.id) }

    /// What an AppendEntries frame says of configurations.
    public enum Named: Hashable, Sendable {
        /// The newest one in it, and the index of its entry.
        case configuration(RaftConfiguration, index: UInt64)
        /// An entry is one and cannot be decoded: who the voters are is not known.
        case undecodable
        case none
    }

    /// The newest configuration in an AppendEntries frame.
    ///
    /// - Parameter index: of the entry before those of the frame.
    public static func newest(inAppendEntries frame: UnsafeRawBufferPointer, after index: UInt64) -> Named {
        func word(_ offset: Int) -> UInt64? {
            guard offset >= 0, offset <= frame.count - 8 else { return nil }
            return UInt64(littleEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard word(0) == RaftFrame.Kind.appendEntries.rawValue, let header = word(8), let count = word(48),
            count <= 1 << 24, header == 48 + 16 * count
        else { return .none }
        var payload = 16 + Int(header)
        var newest = Named.none
        for entry in 0..<Int(count) {
            guard let kind = word(56 + 16 * entry + 8) else { return .none }
            let length = Int(kind >> 32)
            guard payload <= frame.count - length else { return .none }
            if kind & 0xFF == 3 {
                let bytes = UnsafeRawBufferPointer(rebasing: frame[payload..<(payload + length)])
                newest =
                    RaftConfiguration(bytes).map { .configuration($0, index: index &+ UInt64(entry) &+ 1) }
                    ?? .undecodable
            }
            payload += length
        }
        return newest
    }

    /// Decodes raft's own encoding: format 1, the number of members, and for each id, address with a zero byte, role.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 9, bytes[0] == 1 else { return nil }
        let count = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self))
        guard count <= UInt64(bytes.count) else { return nil }
        var position = 9
        var members: [Member] = []
        for _ in 0..<count {
            guard position <= bytes.count - 8 else { return nil }
            let id = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            position += 8
            guard let end = bytes[position...].firstIndex(of: 0), end + 1 < bytes.count else { return nil }
            let address = String(decoding: bytes[position..<end], as: UTF8.self)
            // Raft's codes, which differ from those of the client protocol: 0 stand-by, 1 voter, 2 spare.
            let roles: [DqliteRole] = [.standby, .voter, .spare]
            guard bytes[end + 1] < roles.count else { return nil }
            members.append(Member(id: id, address: address, role: roles[Int(bytes[end + 1])]))
            position = end + 2
        }
        self.members = members
    }
}
