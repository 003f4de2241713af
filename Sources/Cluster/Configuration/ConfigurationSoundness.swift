import Dqlite
import Platform

/// What virtual addresses a cluster may have. Whoever asks for others is refused, through the API and through the cluster port.
public protocol AddressRules: Sendable {
    /// What is wrong with a list of addresses, in words; nil when nothing is.
    func fault(in addresses: [String]) -> String?
}

extension ConfigurationChange {
    /// The change as it may be committed, whoever asks for it: a node that is broken, or older, or none.
    ///
    /// - Throws: `PortFailure` `.invalid` that says what is wrong.
    func sound(by rules: any AddressRules) throws(PortFailure) -> ConfigurationChange {
        switch self {
        case .setAddresses(let addresses), .setAddressesIfNone(let addresses), .setAddressesIf(_, let addresses):
            if addresses.count > mostAddresses {
                throw Self.refusal("\(addresses.count) virtual addresses are more than \(mostAddresses)")
            }
            if let fault = rules.fault(in: addresses) { throw Self.refusal(fault) }
        case .describeNode(var entry):
            guard SoundText.isNodeID(entry.nodeID), entry.failureDomain.map(SoundText.isName) ?? true else {
                throw Self.refusal("node \(entry.dqliteID) describes itself in a way that no node of ours does")
            }
            entry.name = SoundText.name(entry.name)
            return .describeNode(entry)
        case .labelNode(let id, let labels):
            guard SoundText.areLabels(labels) else { throw Self.refusal("node \(id) has labels that cannot be given") }
        case .noteRemoval(var removal):
            guard SoundText.isNodeID(removal.nodeID), SoundText.isPlace(removal.address) else {
                throw Self.refusal("the removal of node \(removal.dqliteID) names no node")
            }
            removal.name = SoundText.name(removal.name)
            return .noteRemoval(removal)
        case .noteMove(let move):
            guard !move.address.isEmpty, SoundText.isPlace(move.address) else {
                throw Self.refusal("node \(move.dqliteID) cannot be moved to what is no address")
            }
        case .forgetNode, .forgetRemoval, .forgetMove: break
        }
        return self
    }

    private static func refusal(_ text: String) -> PortFailure { PortFailure(reason: .invalid, text: text) }
}

// What one node tells another of the configuration is believed only as far as a node of ours could have written it.

extension ReplicatedConfiguration {
    private enum Keys: String, CodingKey { case addresses, nodes, removed, moving }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        let addresses = try container.decode([String].self, forKey: .addresses)
        guard addresses.count <= mostAddresses, addresses.allSatisfy(SoundText.isAddress) else {
            throw container.unsound(.addresses)
        }
        self.init(
            addresses: addresses, nodes: try container.decode([NodeEntry].self, forKey: .nodes),
            removed: try container.decodeIfPresent([RemovedNode].self, forKey: .removed),
            moving: try container.decodeIfPresent([MovingNode].self, forKey: .moving))
    }
}

extension ReplicatedConfiguration.NodeEntry {
    private enum Keys: String, CodingKey { case dqliteID, nodeID, name, labels, isNonVoter, failureDomain }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        self.init(
            dqliteID: try container.decode(DqliteNodeID.self, forKey: .dqliteID),
            nodeID: try container.sound(.nodeID, SoundText.isNodeID),
            name: SoundText.name(try container.decode(String.self, forKey: .name)),
            isNonVoter: try container.decodeIfPresent(Bool.self, forKey: .isNonVoter),
            failureDomain: try container.soundIfPresent(.failureDomain, SoundText.isName))
        labels = try container.decodeIfPresent([String: String].self, forKey: .labels)
        guard labels.map(SoundText.areLabels) ?? true else { throw container.unsound(.labels) }
    }
}

extension RemovedNode {
    private enum Keys: String, CodingKey { case dqliteID, nodeID, name, address, reason, at }

    /// Also read from this node's own disk: what is unsound is left out, so that nobody can keep it from starting.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        let nodeID = try container.decode(String.self, forKey: .nodeID)
        let address = try container.decode(String.self, forKey: .address)
        self.init(
            dqliteID: try container.decode(DqliteNodeID.self, forKey: .dqliteID),
            nodeID: SoundText.isNodeID(nodeID) ? nodeID : "",
            name: SoundText.name(try container.decode(String.self, forKey: .name)),
            address: SoundText.isPlace(address) ? address : "",
            reason: try container.decode(Reason.self, forKey: .reason),
            at: try container.decode(WallTime.self, forKey: .at))
    }
}

extension MovingNode {
    private enum Keys: String, CodingKey { case dqliteID, address, role }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        self.init(
            dqliteID: try container.decode(DqliteNodeID.self, forKey: .dqliteID),
            address: try container.sound(.address, SoundText.isPlace),
            role: try container.decode(DqliteRole.self, forKey: .role))
    }
}
