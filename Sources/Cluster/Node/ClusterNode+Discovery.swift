import Discovery
import Logging
import Platform

/// Finding others, and being found.
extension ClusterNode {
    func lookUp() {
        Task {
            do {
                report(.discovered(try await discovery.lookUp()))
            } catch {
                report(.lookUpFailed("\(error)"))
            }
            noteDiscovery(discovery.statistics.lastError)
        }
    }

    /// Logs what is wrong with the discovery when that changes, and not at every look-up.
    func noteDiscovery(_ error: String?) {
        guard error != lastDiscoveryError else { return }
        lastDiscoveryError = error
        if let error {
            logger.warning(
                "discovery: \(Logger.Message(stringLiteral: error))", metadata: ["discovery": "\(discovery)"])
        } else {
            logger.info("discovery works again", metadata: ["discovery": "\(discovery)"])
        }
    }

    func claimFounding(_ clusterID: ClusterID?) {
        Task {
            do {
                switch try await discovery.claimFounding(of: clusterID?.description) {
                case .held(let until): report(.claimHeld(clusterID, until: until))
                case .taken(let leader): report(.claimTaken(by: leader.address))
                }
            } catch {
                report(.claimFailed(reason: "\(error)"))
            }
        }
    }

    /// Tells the discovery what others are to find of this node. Cheap, so it may be said at each change of anything.
    func announce() {
        let facts = facts.current
        // Who is out is not to be found: new nodes would ask it in vain.
        if case .removed = record.state { return discovery.announce(nil) }
        let node = DiscoveryAnnouncement.NodeRecord(
            nodeID: record.nodeID.description, apiAddress: settings.apiAddress, address: settings.advertised,
            name: settings.name, clusterID: facts.isFormed ? facts.clusterID : nil, clusterName: settings.clusterName)
        var leader: DiscoveryAnnouncement.LeaderRecord?
        if facts.isFormed, let monitor = facts.local?.monitor, monitor.current.isLeader {
            leader = DiscoveryAnnouncement.LeaderRecord(
                nodeID: node.nodeID, apiAddress: node.apiAddress, address: node.address, clusterID: facts.clusterID,
                clusterName: node.clusterName, term: monitor.current.term)
        }
        discovery.announce(DiscoveryAnnouncement(node: node, leader: leader))
    }
}
