import Platform

/// Why a node is not in a formed cluster yet. The description says what it waits for and what the operator can do.
public enum BootstrapWaiting: Sendable, Equatable {
    /// Join only: no node of a formed cluster answers.
    case noClusterFound(clusterName: String, unanswered: [HostPort])
    /// Fewer nodes than expected; `found` has this node in it.
    case tooFewNodes(found: [NodeLabel], expect: Int, unanswered: [HostPort])
    /// Enough nodes, but not more than half of all that are known.
    case noMajorityOfKnown(found: [NodeLabel], known: Int, unanswered: [HostPort])
    /// Enough nodes, but not all of them hear each other.
    case notMutual(found: [NodeLabel], connected: Int, expect: Int)
    /// Nodes with `--bootstrap-expect`, which this one has not: they found.
    case founders([NodeLabel])
    /// Another node has the right to found the cluster.
    case claim(of: HostPort)
    /// The store that gives the right to found does not answer.
    case store(reason: String)
    /// Another node is to propose the founding set.
    case proposal(by: NodeLabel)
    /// This node has proposed; some have not agreed yet.
    case agreement(missing: [HostPort])
    /// This node has agreed; the founder goes on.
    case founder(HostPort)
    /// Withdrawn from a founder that does not answer.
    case withdrawn(founder: HostPort, left: Int, needed: Int, silent: [HostPort])
    /// The founder: not a majority yet.
    case members(present: Int, needed: Int, missing: [HostPort])
    /// Member of a cluster that is not formed yet.
    case formation(ClusterID, founder: HostPort)
    /// On the way into a formed cluster.
    case admission(ClusterID, via: HostPort?)
    /// Nodes of different formed clusters answer.
    case severalClusters([ClusterID])
    /// An operator removed this node.
    case removed(ClusterID, RemovedNode)
}

extension BootstrapWaiting: CustomStringConvertible {
    public var description: String {
        switch self {
        case .noClusterFound(let name, let unanswered):
            return "no node of a formed cluster \"\(name)\" answers" + Self.silent(unanswered)
        case .tooFewNodes(let found, let expect, let unanswered):
            let missing = expect - found.count
            return "\(found.count) of \(expect) nodes found: \(Self.list(found)); waiting for "
                + (missing == 1 ? "one more" : "\(missing) more") + Self.silent(unanswered)
        case .noMajorityOfKnown(let found, let known, let unanswered):
            return
                "\(found.count) nodes found: \(Self.list(found)), but \(known) are known, and a cluster is founded only "
                + "by more than half of them: start the others, or take those that are gone out of the discovery"
                + Self.silent(unanswered)
        case .notMutual(let found, let connected, let expect):
            return
                "\(found.count) nodes found: \(Self.list(found)), but only \(connected) of the \(expect) needed hear "
                + "each other: check that each can connect to the cluster port of each"
        case .founders(let nodes):
            return
                "\(Self.list(nodes)) wait for others to found a cluster with, and this node, without --bootstrap-expect, "
                + "waits to join it: give all nodes the same --bootstrap-expect, or none"
        case .claim(let holder):
            return
                "the leader key names \(holder): waiting for its cluster; if that node is gone, the key lapses by itself "
                + "within a minute, unless it was written by hand or by another program"
        case .store(let reason):
            return "the store that says who founds the cluster cannot be asked: \(reason)"
        case .proposal(let node):
            return "enough nodes found; waiting for \(node) to propose the founding set"
        case .agreement(let missing):
            return "founding a cluster; waiting for the agreement of \(Self.list(missing))"
        case .founder(let address):
            return "agreed to a founding set; waiting for the invitation of its founder \(address)"
        case .withdrawn(let founder, let left, let needed, let silent):
            return
                "the founder \(founder) does not answer; this node has withdrawn from its founding set and goes on when "
                + "\(needed) of its members have (\(left) so far)" + Self.silent(silent)
                + "; if these nodes never come back, stop the nodes of this founding set that are left and remove their data "
                + "directories"
        case .members(let present, let needed, let missing):
            return "the database is created; \(present) of \(needed) members needed are there; waiting for "
                + Self.list(missing)
        case .formation(let id, let founder):
            return "member of cluster \(id), which is not formed yet; waiting for its founder \(founder) and the other "
                + "members; if the founder never comes back, stop all members and remove their data directories"
        case .admission(let id, let address):
            let via = address.map { "; asking \($0)" } ?? "; no node of it answers"
            return "joining cluster \(id)" + via
        case .severalClusters(let ids):
            return "nodes of different formed clusters answer: \(Self.list(ids)); give each cluster its own name, or "
                + "take the addresses of the wrong one out of the discovery"
        case .removed(let id, let removal):
            return removal.description(of: id)
                + "; it stays out until it is started with --rejoin, or with an empty data directory"
        }
    }

    private static func list(_ items: [some CustomStringConvertible]) -> String {
        items.map(\.description).joined(separator: ", ")
    }

    private static func silent(_ addresses: [HostPort]) -> String {
        addresses.isEmpty ? "" : "; no answer from \(list(addresses))"
    }
}

/// Something that the operator should know and perhaps mend.
public enum BootstrapWarning: Sendable, Equatable {
    /// Two nodes were started with different cluster names.
    case clusterName(here: NodeLabel, String, there: NodeLabel, String)
    /// Two nodes were started with different values of `--bootstrap-expect`; nil: it was given none.
    case expect(here: NodeLabel, Int, there: NodeLabel, Int)
    /// Nodes of different formed clusters with our name answer.
    case severalClusters([ClusterID], [HostPort])
    /// This node is bound to one cluster and hears only of another.
    case otherCluster(own: ClusterID, other: ClusterID, HostPort)
    /// A peer refused; its own words.
    case refused(by: HostPort, String)
    /// The raft directory was emptied behind our back.
    case raftLost(was: NodeID, now: NodeID)
    /// An unformed cluster was given up for a formed one.
    case gaveUpFor(own: ClusterID, formed: ClusterID)
    /// An unformed cluster was given up because it cannot be formed.
    case gaveUp(ClusterID, reason: String)
    /// The options name another cluster than the record.
    case clusterNameIgnored(option: String, record: String)
    /// Another host answers with our own node id: its data directory is a copy of ours.
    case copiedIdentity(NodeID, HostPort)
    /// More addresses than are asked.
    case tooManyAddresses(Int)
    /// Something local failed and is tried again.
    case retrying(String, reason: String)
    /// This node is no member of its cluster any more.
    case removed(ClusterID, RemovedNode)
}

extension BootstrapWarning: CustomStringConvertible {
    public var description: String {
        switch self {
        case .clusterName(let here, let mine, let there, let theirs):
            "the cluster names differ: \(here) has \"\(mine)\", \(there) has \"\(theirs)\"; they will not become one "
                + "cluster: give both the same name, or take the address out of the discovery"
        case .expect(let here, let mine, let there, let theirs):
            "--bootstrap-expect differs: \(here) has \(mine), \(there) has \(theirs); they will not found a cluster "
                + "together: start both with the same value"
        case .severalClusters(let ids, let addresses):
            "there are several formed clusters: \(ids.map(\.description).joined(separator: ", ")) at "
                + "\(addresses.map(\.description).joined(separator: ", ")); this node joins none of them until only one "
                + "answers"
        case .otherCluster(let own, let other, let address):
            "this node belongs to cluster \(own), but \(address) belongs to cluster \(other): if \(own) is gone for "
                + "good, stop this node, remove its data directory and start it again"
        case .refused(let address, let text):
            "\(address) refused: \(text)"
        case .raftLost(let was, let now):
            "the raft directory is empty although node.json says that node \(was) is in a cluster: this node goes on as "
                + "the new node \(now)"
        case .gaveUpFor(let own, let formed):
            "the unformed cluster \(own) of this node is given up, because cluster \(formed) is formed: joining it"
        case .gaveUp(let own, let reason):
            "the unformed cluster \(own) is given up: \(reason)"
        case .clusterNameIgnored(let option, let record):
            "the cluster name \"\(option)\" is ignored: node.json says that this node is bound to \"\(record)\""
        case .copiedIdentity(let id, let address):
            "\(address) answers with the node id \(id) of this node: its data directory is a copy of this one's; stop "
                + "that node, remove its data directory and start it again"
        case .tooManyAddresses(let count):
            "\(count) addresses are known; only \(NodeView.maximumListed) are asked"
        case .retrying(let what, let reason):
            "cannot \(what) yet: \(reason)"
        case .removed(let id, let removal):
            removal.isFinal
                ? "\(removal.description(of: id)): it holds nothing and votes no more"
                : "\(removal.description(of: id)): it joins again as a new member"
        }
    }
}
