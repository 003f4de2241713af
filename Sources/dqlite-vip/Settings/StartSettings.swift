import Cluster
import Logging
import Platform

/// Everything `dqlite-vip start` was told, checked as a whole. Made by `StartSettings.validate`.
struct StartSettings: Hashable, Sendable {
    /// Where the node keeps its state; belongs to this node alone.
    var dataDirectory: String
    var clusterBind: ClusterBind
    /// Where the HTTP API listens; the host is an address or a name such as localhost.
    var apiBind: HostPort
    /// The network interface that carries the virtual address, and the node's own.
    var interface: String
    /// Where to look for other nodes.
    var discovery: DiscoverySettings
    /// The number of nodes that found the cluster together. nil: not given, so with nowhere to look this node founds a
    /// cluster of one; with addresses it only joins; with a store it founds one if it is the first there.
    var bootstrapExpect: Int?
    /// Holds the data, but never votes, founds or leads.
    var isNonVoter: Bool
    /// Each `address/prefix length`, set once when the cluster forms and none is set.
    var virtualAddresses: [String]
    /// The number of voters up to which later nodes become voters: odd, 1...7.
    var voters: Int
    /// Checked in every handshake: nodes of clusters with different names never join each other.
    var clusterName: String
    var logLevel: Logger.Level
    var logFormat: LogFormat
    /// The same on all members.
    var timing = Timing.lan
    var membership = MembershipOptions()
    /// The node's name for people; nil: the host's.
    var nodeName: String?
    /// What its operator has attached to the node.
    var labels: [String: String] = [:]

    /// Where others reach the API of a node with this cluster address; nil when it listens for its own host only.
    func apiAddress(of advertised: HostPort) -> HostPort? {
        if apiBind.address?.isUnspecified == true { return HostPort(host: advertised.host, port: apiBind.port) }
        return apiBind.address?.isLoopback == true || apiBind.host == "localhost" ? nil : apiBind
    }
}

/// Where the cluster port listens and what the node tells its peers.
enum ClusterBind: Hashable, Sendable {
    /// Not given: listens on the first global IPv4 address of the interface and advertises it.
    case interfaceAddress(port: UInt16)
    /// `0.0.0.0` or `[::]`: listens on all addresses and advertises the interface's of that family.
    case allAddresses(IPAddress.Family, port: UInt16)
    /// Listens on this address and advertises it.
    case address(IPAddress, port: UInt16)

    var port: UInt16 {
        switch self {
        case .interfaceAddress(let port), .allAddresses(_, let port), .address(_, let port): port
        }
    }

    /// Of the address that peers are told.
    var family: IPAddress.Family {
        switch self {
        case .interfaceAddress: .v4
        case .allAddresses(let family, _): family
        case .address(let address, _): address.family
        }
    }
}
