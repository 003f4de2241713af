import Dqlite
public import Platform

/// The MACs under which a member's kernel may answer for the virtual addresses, as the member tells them.
///
/// Whoever takes over waits for the kernel of the last holder, and for nobody else who answers. Decoding is total: what makes
/// no sense, or is too much, is as if it had not been told.
public struct MemberMACs: Codable, Sendable, Hashable {
    /// How many one member can have.
    public static let most = 8

    /// 1...`most`, or none: they are not known.
    public let addresses: [HardwareAddress]

    /// - Parameter addresses: more than `most` are none.
    public init(_ addresses: [HardwareAddress]) {
        self.addresses = addresses.count > Self.most ? [] : addresses
    }

    public init(from decoder: any Decoder) {
        var addresses: [HardwareAddress] = []
        if var list = try? decoder.unkeyedContainer() {
            while !list.isAtEnd {
                guard addresses.count < Self.most, let address = try? list.decode(HardwareAddress.self) else {
                    addresses = []
                    break
                }
                addresses.append(address)
            }
        }
        self.addresses = addresses
    }

    public func encode(to encoder: any Encoder) throws {
        var list = encoder.unkeyedContainer()
        for address in addresses { try list.encode(address) }
    }
}

extension Roster {
    /// What a member has told of itself; nil when it has not.
    func macs(of id: DqliteNodeID) -> MemberMACs? {
        members.first { $0.id == id }?.macs.flatMap { $0.addresses.isEmpty ? nil : $0 }
    }

    /// The MACs of all of these members but `own`; nil when those of one are not known, or there is no other.
    func macs(of members: [DqliteMember], but own: DqliteNodeID) -> Set<HardwareAddress>? {
        var all: Set<HardwareAddress> = []
        for member in members where member.id != own {
            guard let macs = macs(of: member.id) else { return nil }
            all.formUnion(macs.addresses)
        }
        return all.isEmpty ? nil : all
    }
}

extension ClusterNode {
    /// Takes note of the MACs under which this host answers for the virtual addresses: the others are told with the next roll
    /// call. From any thread.
    public nonisolated func note(macs: [HardwareAddress]) {
        facts.update { $0.ownMACs = MemberMACs(macs) }
    }

    /// The MACs of all other members; nil when those of one are not known. From any thread.
    public nonisolated var memberMACs: Set<HardwareAddress>? {
        let facts = facts.current
        guard let own = facts.local?.dqliteID else { return nil }
        return facts.roster?.roster.macs(of: facts.members, but: own)
    }
}
