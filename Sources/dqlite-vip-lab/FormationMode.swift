import Lab

/// Ways in which nodes that are started at the same moment find each other and form a cluster.
enum FormationMode: String, CaseIterable {
    case list = "static"
    case dns
    case dnsSRV = "dns-srv"
    case multicast
    case consul = "consul-kv"
    case etcd = "etcd-kv"
    /// Without --bootstrap-expect: the first to claim the leader key founds.
    case consulClaim = "consul-kv-claim"
    case etcdClaim = "etcd-kv-claim"

    var goal: String {
        switch self {
        case .list, .dns, .dnsSRV, .multicast: "median < 2000"
        case .consul, .etcd, .consulClaim, .etcdClaim: "median < 3000"
        }
    }
}

/// The servers that the modes need, each started when it is first asked for.
final class FormationServices {
    private let lab: LabCluster
    private var dns: LabDNS?
    private var stores: [StoreKind: any LabStore] = [:]
    private var rounds = 0

    init(_ lab: LabCluster) {
        self.lab = lab
    }

    /// What each node is started with. Each call gives a key that no store has seen.
    func options(_ mode: FormationMode) async throws -> StartOptions {
        rounds += 1
        let expect = lab.nodes.count
        var options =
            switch mode {
            case .list: StartOptions.identical(expect: expect)
            case .dns: try await named("dns", #"{"name":"nodes.lab","port":8800}"#, expect)
            case .dnsSRV: try await named("dns-srv", #"{"name":"nodes.lab","service":"cluster"}"#, expect)
            case .multicast: StartOptions.discovering("multicast", expect: expect)
            case .consul: try await stored(.consul, expect)
            case .etcd: try await stored(.etcd, expect)
            case .consulClaim: try await stored(.consul, nil)
            case .etcdClaim: try await stored(.etcd, nil)
            }
        if mode != .list { options.discoKey = "bench-\(rounds)" }
        return options
    }

    private func named(_ mode: String, _ config: String, _ expect: Int) async throws -> StartOptions {
        if dns == nil {
            let dns = try LabDNS(lab.network)
            try await dns.set("nodes.lab", lab.nodes.map(\.address))
            for node in lab.nodes {
                try lab.network.setResolver(ofNode: node.number, to: [dns.address])
                try await dns.set("n\(node.number).lab", [node.address])
            }
            try await dns.setService(
                "_cluster._tcp.nodes.lab", lab.nodes.map { LabDNS.Target(host: "n\($0.number).lab", port: 8800) })
            try await dns.start()
            self.dns = dns
        }
        return .discovering(mode, config: config, expect: expect)
    }

    private func stored(_ kind: StoreKind, _ expect: Int?) async throws -> StartOptions {
        let store: any LabStore
        if let started = stores[kind] {
            store = started
        } else {
            store = try await kind.start(lab.network)
            stores[kind] = store
        }
        return .discovering(store.mode, config: store.configuration, expect: expect)
    }

    /// Ends the servers: what is measured next is to have the machine to itself.
    func stop() async throws {
        try await dns?.stop()
        for store in stores.values { try await store.kill() }
    }
}
