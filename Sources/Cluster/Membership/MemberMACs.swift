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

/// Under which MACs the kernels may answer of all that were members a moment ago. A value type without clock.
///
/// A member whose disk was emptied is replaced within a tenth of a second, while the kernel serves the address for the rest of its
/// second: who takes over has to know it although the list of members does not name it any more.
struct MACBook: Sendable {
    /// Longer than any kernel keeps an address that nobody renews.
    static let memory: Duration = .seconds(3)
    /// More than a cluster has; who has more is not known.
    private static let most = 512

    private var seen: [HardwareAddress: BootInstant] = [:]
    /// When there was a member last whose MACs were not known.
    private var unknownAt: BootInstant?

    /// These are the members now, as far as the roster tells of their MACs.
    mutating func note(_ members: [DqliteMember], _ roster: Roster?, but own: DqliteNodeID, now: BootInstant) {
        seen = seen.filter { $0.value.duration(to: now) < Self.memory }
        guard members.contains(where: { $0.id != own }) else { return }
        guard let all = roster?.macs(of: members, but: own), seen.count < Self.most else {
            unknownAt = now
            return
        }
        for address in all { seen[address] = now }
    }

    /// nil when those of one were not known.
    func all(now: BootInstant) -> Set<HardwareAddress>? {
        if let unknownAt, unknownAt.duration(to: now) < Self.memory { return nil }
        let fresh = seen.filter { $0.value.duration(to: now) < Self.memory }.keys
        return fresh.isEmpty ? nil : Set(fresh)
    }
}

extension ClusterNode {
    /// Takes note of the MACs under which this host answers for the virtual addresses: the others are told with the next roll
    /// call. From any thread.
    public nonisolated func note(macs: [HardwareAddress]) {
        facts.update { $0.ownMACs = MemberMACs(macs) }
    }

    /// The MACs of all other members, and of who was one a moment ago; nil when those of one are not known. From any thread.
    public nonisolated var memberMACs: Set<HardwareAddress>? {
        let facts = facts.current
        return facts.local == nil ? nil : facts.macBook.all(now: BootClock.now)
    }
}
