import Platform

/// A `DecodingError` in one line for people: where, and what was wrong there.
enum DecodingText {
    static func describe(_ error: DecodingError) -> String {
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            place(context.codingPath) + context.debugDescription
        case .keyNotFound(let key, let context):
            place(context.codingPath) + "\"\(key.stringValue)\" is missing"
        @unknown default:
            "\(error)"
        }
    }

    private static func place(_ path: [any CodingKey]) -> String {
        path.isEmpty ? "" : "at \(path.map(\.stringValue).joined(separator: ".")): "
    }
}

extension PeerRequest: Codable {
    private enum Key: String, CodingKey, CaseIterable {
        case hello
        case propose
        case abort
        case invite
        case join
    }

    private struct Invitation: Codable {
        var agreement: Agreement
        var clusterID: ClusterID
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        switch try container.onlyKey() {
        case .hello:
            self = .hello(try container.decode(NodeView.self, forKey: .hello))
        case .propose:
            self = .propose(try container.decode(Agreement.self, forKey: .propose))
        case .abort:
            self = .abort(try container.decode(ProposalID.self, forKey: .abort))
        case .invite:
            let invitation = try container.decode(Invitation.self, forKey: .invite)
            self = .invite(invitation.agreement, invitation.clusterID)
        case .join:
            self = .join(try container.decode(JoinRequest.self, forKey: .join))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .hello(let view): try container.encode(view, forKey: .hello)
        case .propose(let agreement): try container.encode(agreement, forKey: .propose)
        case .abort(let proposal): try container.encode(proposal, forKey: .abort)
        case .invite(let agreement, let clusterID):
            try container.encode(Invitation(agreement: agreement, clusterID: clusterID), forKey: .invite)
        case .join(let request): try container.encode(request, forKey: .join)
        }
    }
}

extension PeerReply: Codable {
    private enum Key: String, CodingKey, CaseIterable {
        case view
        case agreed
        case accepted
        case joined
        case redirect
        case refused
        case error
    }

    private struct Joined: Codable {
        var clusterID: ClusterID
        var role: MemberRole
    }

    private struct Redirect: Codable {
        var leader: HostPort?
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        switch try container.onlyKey() {
        case .view:
            self = .view(try container.decode(NodeView.self, forKey: .view))
        case .agreed:
            self = .agreed(try container.decode(ProposalID.self, forKey: .agreed))
        case .accepted:
            self = .accepted(try container.decode(ClusterID.self, forKey: .accepted))
        case .joined:
            let joined = try container.decode(Joined.self, forKey: .joined)
            self = .joined(joined.clusterID, joined.role)
        case .redirect:
            self = .redirect(leader: try container.decode(Redirect.self, forKey: .redirect).leader)
        case .refused:
            self = .refused(try container.decode(Refusal.self, forKey: .refused))
        case .error:
            self = .error(try container.decode(String.self, forKey: .error))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .view(let view): try container.encode(view, forKey: .view)
        case .agreed(let proposal): try container.encode(proposal, forKey: .agreed)
        case .accepted(let clusterID): try container.encode(clusterID, forKey: .accepted)
        case .joined(let clusterID, let role):
            try container.encode(Joined(clusterID: clusterID, role: role), forKey: .joined)
        case .redirect(let leader): try container.encode(Redirect(leader: leader), forKey: .redirect)
        case .refused(let refusal): try container.encode(refusal, forKey: .refused)
        case .error(let text): try container.encode(text, forKey: .error)
        }
    }
}

extension NodeView {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func list<Item: Decodable>(_ key: CodingKeys) throws -> [Item] {
            let items = try container.decode([Item].self, forKey: key)
            guard items.count <= Self.maximumListed else {
                throw DecodingError.dataCorruptedError(
                    forKey: key, in: container,
                    debugDescription: "\(items.count) entries, and at most \(Self.maximumListed) are allowed")
            }
            return items
        }
        self.init(
            nodeID: try container.decode(NodeID.self, forKey: .nodeID),
            name: SoundText.name(try container.decode(String.self, forKey: .name)),
            dqliteID: try container.decode(UInt64.self, forKey: .dqliteID),
            generation: try container.decode(UInt64.self, forKey: .generation),
            address: try container.decode(HostPort.self, forKey: .address),
            clusterName: try container.decode(String.self, forKey: .clusterName),
            expect: try container.decodeIfPresent(Int.self, forKey: .expect),
            nonVoter: try container.decode(Bool.self, forKey: .nonVoter),
            phase: try container.decode(Phase.self, forKey: .phase),
            clusterID: try container.decodeIfPresent(ClusterID.self, forKey: .clusterID),
            proposal: try container.decodeIfPresent(ProposalID.self, forKey: .proposal),
            founder: try container.decodeIfPresent(NodeID.self, forKey: .founder),
            ready: try container.decode(Bool.self, forKey: .ready), heard: try list(.heard),
            discovered: try list(.discovered), leader: try container.decodeIfPresent(HostPort.self, forKey: .leader),
            schema: try container.decodeIfPresent(Int.self, forKey: .schema) ?? 1)
    }
}

extension JoinRequest {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            nodeID: try container.decode(NodeID.self, forKey: .nodeID),
            name: SoundText.name(try container.decode(String.self, forKey: .name)),
            dqliteID: try container.decode(UInt64.self, forKey: .dqliteID),
            address: try container.decode(HostPort.self, forKey: .address),
            clusterName: try container.decode(String.self, forKey: .clusterName),
            clusterID: try container.decode(ClusterID.self, forKey: .clusterID),
            nonVoter: try container.decode(Bool.self, forKey: .nonVoter),
            isReturning: try container.decodeIfPresent(Bool.self, forKey: .isReturning))
    }
}

extension KeyedDecodingContainer {
    /// The one key of a message; a message with none, with several, or with an unknown one is not understood.
    fileprivate func onlyKey() throws -> Key {
        guard let key = allKeys.first, allKeys.count == 1 else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: codingPath, debugDescription: "not exactly one known kind of message"))
        }
        return key
    }
}
