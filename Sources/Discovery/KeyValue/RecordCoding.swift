import FoundationEssentials
import Platform

/// The records of nodes and leaders as they stand in a store: JSON, whose fields have rqlite's names where rqlite has them.
enum RecordCoding {
    /// The same record always gives the same bytes.
    static func encode(_ record: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Fails only for numbers that are not finite, and the records have none.
        return (try? encoder.encode(record)).map { Array($0) } ?? []
    }

    /// nil for anything that is not such a record. The address of the API may be any text, as it is for rqlite.
    static func leader(_ bytes: [UInt8]) -> DiscoveryAnnouncement.LeaderRecord? {
        guard let written = try? JSONDecoder().decode(WrittenLeader.self, from: Data(bytes)) else { return nil }
        return DiscoveryAnnouncement.LeaderRecord(
            nodeID: written.id, apiAddress: written.apiAddress, address: written.addr, clusterID: written.cluster_id,
            clusterName: written.cluster_name, term: written.term)
    }

    /// The address in a record of a node or a leader, whatever else is in it; nil when there is none.
    static func address(_ bytes: [UInt8]) -> HostPort? {
        try? JSONDecoder().decode(Addressed.self, from: Data(bytes)).addr
    }

    private struct Addressed: Decodable { var addr: HostPort }

    private struct WrittenLeader: Decodable {
        var id: String
        var api_addr: AnyAddress?
        var addr: HostPort
        var cluster_id: String?
        var cluster_name: String?
        var term: UInt64?

        var apiAddress: HostPort? { api_addr?.address }
    }

    private struct AnyAddress: Decodable {
        var address: HostPort?

        init(from decoder: any Decoder) throws {
            address = try? HostPort(parsing: decoder.singleValueContainer().decode(String.self))
        }
    }
}

/// What a look-up makes of a store.
struct StoreCandidates: Equatable, Sendable {
    /// That of the leader first, then those of the nodes in the order of their ids; each once.
    var addresses: [HostPort] = []
    /// What had to be passed over, for a person; nil when nothing had.
    var fault: String?

    /// A cluster has some ten nodes; what is beyond this is a mistake, and would be asked again and again.
    static let limit = 256

    /// - Parameter fullName: the name of a key for messages.
    init(_ snapshot: StoreSnapshot, fullName: (String) -> String) {
        var unreadable: [String] = []
        var seen: Set<HostPort> = []
        var surplus = 0
        func add(_ address: HostPort) {
            guard !seen.contains(address) else { return }
            guard seen.count < Self.limit else { return surplus += 1 }
            seen.insert(address)
            addresses.append(address)
        }
        if let leader = snapshot.leader {
            if let address = RecordCoding.address(leader.record) {
                add(address)
            } else {
                unreadable.append(fullName("leader"))
            }
        }
        // Records of a cluster with another name are kept: asked, their nodes say so, and the operator learns of it.
        for (id, bytes) in snapshot.nodes.sorted(by: { $0.key < $1.key }) {
            if let address = RecordCoding.address(bytes) {
                add(address)
            } else {
                unreadable.append(fullName("nodes/\(id)"))
            }
        }
        var faults: [String] = []
        if !unreadable.isEmpty {
            let more = unreadable.count > 3 ? " and \(unreadable.count - 3) more" : ""
            faults.append(
                "not a record of a node, and passed over: \(unreadable.prefix(3).joined(separator: ", "))\(more): "
                    + "delete it if nobody needs it, or use another --disco-key")
        }
        if surplus > 0 {
            faults.append("\(surplus) addresses are passed over: there are more than \(Self.limit)")
        }
        fault = faults.isEmpty ? nil : faults.joined(separator: "; ")
    }
}
