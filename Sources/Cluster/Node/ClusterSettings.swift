import Platform

/// What a node has to know to find, form and keep a cluster.
public struct ClusterSettings: Sendable {
    /// Checked in every handshake; nodes of clusters with different names never join each other.
    public var clusterName: String
    /// How many nodes found the cluster together; nil when this node founds alone or only joins.
    public var bootstrapExpect: Int?
    /// How a node without state finds its cluster.
    public var search: Search
    /// Replicates, never votes, and never founds.
    public var nonVoter: Bool
    /// Up to how many voters later nodes become voters: odd, 1...7.
    public var voters: Int
    /// Where the cluster port listens.
    public var listen: HostPort
    /// Where peers reach it.
    public var advertised: HostPort
    /// Where its API listens, for who finds this node by discovery; nil when that is for the node itself only.
    public var apiAddress: HostPort?
    /// The node's name for people.
    public var name: String
    /// What its operator has attached to it.
    public var labels: [String: String]
    /// Virtual addresses that are set when the cluster forms and has none.
    public var initialAddresses: [String]
    public var timing: Timing
    public var membership: MembershipOptions
    /// What may be committed as virtual addresses, whoever asks.
    public var addressRules: any AddressRules

    public enum Search: Sendable {
        /// Nowhere: without `bootstrapExpect` it founds a cluster of one.
        case nowhere
        /// At addresses that the discovery names: without `bootstrapExpect` it only joins.
        case discovery
        /// The same, and the discovery has a store that says who founds when there is no `bootstrapExpect`.
        case store
    }

    public init(
        clusterName: String, bootstrapExpect: Int?, search: Search, nonVoter: Bool = false, voters: Int,
        listen: HostPort, advertised: HostPort, apiAddress: HostPort? = nil, name: String,
        labels: [String: String] = [:], initialAddresses: [String] = [], timing: Timing = .lan,
        membership: MembershipOptions = .init(), addressRules: any AddressRules
    ) {
        self.clusterName = clusterName
        self.bootstrapExpect = bootstrapExpect
        self.search = search
        self.nonVoter = nonVoter
        self.voters = voters
        self.listen = listen
        self.advertised = advertised
        self.apiAddress = apiAddress
        self.name = name
        self.labels = labels
        self.initialAddresses = initialAddresses
        self.timing = timing
        self.membership = membership
        self.addressRules = addressRules
    }
}

extension ClusterSettings {
    var bootstrapOptions: BootstrapOptions {
        let mode: BootstrapOptions.Mode =
            switch (bootstrapExpect, search) {
            case _ where nonVoter: .joinOnly
            case (let expect?, _): .expect(expect)
            case (nil, .store): .claim
            case (nil, .discovery): .joinOnly
            case (nil, .nowhere): .single
            }
        return BootstrapOptions(
            mode: mode, clusterName: clusterName, name: name, address: advertised, nonVoter: nonVoter,
            rejoins: membership.rejoins)
    }

    /// What peers are told of the timing.
    var timingClaim: TimingClaim { TimingClaim(timing, of: advertised) }

    var rolePolicy: RolePolicy {
        RolePolicy(voters: voters, expect: bootstrapExpect, standbys: membership.standbys)
    }
}
