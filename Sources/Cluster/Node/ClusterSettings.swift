import Platform

/// What a node has to know to find, form and keep a cluster.
public struct ClusterSettings: Sendable {
    /// Checked in every handshake; nodes of clusters with different names never join each other.
    public var clusterName: String
    /// How many nodes found the cluster together; nil when this node founds alone or only joins.
    public var bootstrapExpect: Int?
    /// Whether addresses to join were given. Without any, and without `bootstrapExpect`, a node founds a cluster of one.
    public var hasJoinAddresses: Bool
    /// Up to how many voters later nodes become voters: odd, 1...7.
    public var voters: Int
    /// Where the cluster port listens.
    public var listen: HostPort
    /// Where peers reach it.
    public var advertised: HostPort
    /// The node's name for people.
    public var name: String
    /// Virtual addresses that are set when the cluster forms and has none.
    public var initialAddresses: [String]
    public var timing: Timing

    public init(
        clusterName: String, bootstrapExpect: Int?, hasJoinAddresses: Bool, voters: Int, listen: HostPort,
        advertised: HostPort, name: String, initialAddresses: [String] = [], timing: Timing = .lan
    ) {
        self.clusterName = clusterName
        self.bootstrapExpect = bootstrapExpect
        self.hasJoinAddresses = hasJoinAddresses
        self.voters = voters
        self.listen = listen
        self.advertised = advertised
        self.name = name
        self.initialAddresses = initialAddresses
        self.timing = timing
    }
}

extension ClusterSettings {
    var bootstrapOptions: BootstrapOptions {
        let mode: BootstrapOptions.Mode =
            switch (bootstrapExpect, hasJoinAddresses) {
            case (let expect?, _): .expect(expect)
            case (nil, true): .joinOnly
            case (nil, false): .single
            }
        return BootstrapOptions(mode: mode, clusterName: clusterName, name: name, address: advertised)
    }

    var rolePolicy: RolePolicy { RolePolicy(voters: voters, expect: bootstrapExpect) }
}
