import Cluster
import Discovery
import Platform

/// What the settings say about finding others.
extension SettingsCheck {
    mutating func discovery(_ cluster: ClusterBind?, _ api: HostPort?, interface: String?) -> DiscoverySettings {
        var discovery = DiscoverySettings()
        discovery.join = join(cluster, api)
        discovery.key = key()
        discovery.clusterPort = cluster?.port ?? StartSettings.defaultClusterPort
        discovery.family = cluster?.family ?? .v4
        discovery.interface = interface ?? ""
        let mode = choice(.discoveryMode, surroundings.modes.map { ($0, $0) })
        let configuration = configuration(for: mode, clusterPort: discovery.clusterPort, api)
        if mode == DiscoveryRegistry.staticMode {
            if input[.join] == nil {
                fault(
                    .discoveryMode, DiscoveryRegistry.staticMode,
                    "its addresses are those of --join, which is missing: give it, or leave the mode out")
            }
        } else if let mode {
            discovery.backend = .init(
                mode: mode, configuration: configuration.fields, ignored: configuration.ignored)
        }
        if !isForNode, input[.join] == nil, input[.discoveryMode] == nil {
            faults.append("there is nowhere to look for other nodes: give --join or --disco-mode")
        }
        return discovery
    }

    private mutating func join(_ cluster: ClusterBind?, _ api: HostPort?) -> [HostPort] {
        guard let given = input[.join] else { return [] }
        let clusterPort = cluster?.port ?? StartSettings.defaultClusterPort
        let (entries, parseFaults) = StaticDiscovery.parse(given.texts)
        for parseFault in parseFaults {
            let reason =
                parseFault.text.isEmpty
                ? "an address is empty: is a variable of the command line not set?" : Self.printable(parseFault.reason)
            fault(.join, parseFault.text, "\(reason): give the cluster addresses of other nodes, like 192.0.2.1:8800")
        }
        for entry in entries {
            if let address = entry.address, address.isUnspecified || address.isMulticast || address.isLimitedBroadcast {
                fault(
                    .join, entry.description,
                    "\(address) is not the address of one host: give the address at which that node can be reached")
            } else if let api, entry.port == api.port, entry.port != clusterPort {
                fault(
                    .join, entry.description,
                    "\(entry.port) is the port of the API (--bind-http); use the cluster port (\(clusterPort)): "
                        + "\(HostPort(host: entry.host, port: clusterPort))")
            }
        }
        return entries
    }

    private mutating func key() -> String {
        guard let text = input.text(.discoveryKey) else { return DiscoverySettings.defaultKey }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let isKey =
            (1...128).contains(text.utf8.count)
            && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." && SoundText.isWord($0) }
        guard isKey else {
            fault(
                .discoveryKey, text,
                "a key has 1 to 128 of the characters a-z, A-Z, 0-9, dot, hyphen, underscore, and / between its parts, like "
                    + "prod/web")
            return DiscoverySettings.defaultKey
        }
        return text
    }

    /// What `--disco-config` says; faults never repeat its content.
    private mutating func configuration(
        for mode: String?, clusterPort: UInt16, _ api: HostPort?
    ) -> (fields: [String: JSONValue], ignored: [String]) {
        guard let given = input[.discoveryConfiguration], let text = given.texts.last else {
            guard let mode, mode != DiscoveryRegistry.staticMode else { return ([:], []) }
            let (faults, ignored) = surroundings.check(mode, [:])
            self.faults += faults.map { "--disco-config is missing: \(Self.reason($0))" }
            return ([:], ignored)
        }
        let source = ConfigurationText(text)
        let origin = given.origin + (source.quotablePath.map { " \"\(Self.printable($0))\"" } ?? "")
        guard !text.isEmpty else {
            faults.append("\(origin): it is empty: give a JSON object or the path of a file, or leave the flag out")
            return ([:], [])
        }
        guard input[.discoveryMode] != nil, mode != DiscoveryRegistry.staticMode else {
            let others = surroundings.modes.filter { $0 != DiscoveryRegistry.staticMode }.joined(separator: ", ")
            faults.append(
                mode == nil
                    ? "\(origin): it belongs to a --disco-mode, which is missing: give one of \(others)"
                    : "\(origin): the mode static has no configuration, its addresses are those of --join: leave the flag "
                        + "out, or give another mode: \(others)")
            return ([:], [])
        }
        do {
            let fields = try ConfigurationText.parse(
                try surroundings.load(source), environment: surroundings.environment)
            let (faults, ignored) = mode.map { surroundings.check($0, fields) } ?? ([], [])
            self.faults += faults.map { "\(origin): \(Self.reason($0))" }
            checkPort(fields, origin, clusterPort, api)
            return (fields, ignored)
        } catch let fault as ConfigurationFault {
            faults += fault.reasons.map { "\(origin): \(Self.reason($0))" }
        } catch {
            // It names the path itself.
            faults.append("\(given.origin): \(Self.reason("\(error)"))")
        }
        return ([:], [])
    }

    private static func reason(_ text: String) -> String { printable(text, atMost: 1000) }

    /// A field "port" is that of the others' cluster ports, where a mode has one; people put that of the API there.
    private mutating func checkPort(
        _ fields: [String: JSONValue], _ origin: String, _ clusterPort: UInt16, _ api: HostPort?
    ) {
        let port: Int64?
        switch fields.first(where: { $0.key.lowercased() == "port" })?.value {
        case .integer(let number): port = number
        case .string(let text): port = Int64(text)
        default: port = nil
        }
        guard let api, let port, port == Int64(api.port), api.port != clusterPort else { return }
        faults.append(
            "\(origin): the field \"port\": \(port) is the port of the API (--bind-http); use the cluster port "
                + "(\(clusterPort)), or leave the field out")
    }

    var hasSource: Bool { input[.join] != nil || input[.discoveryMode] != nil }

    mutating func bootstrapExpect() -> Int? {
        guard let expect = number(.bootstrapExpect, 1...StartSettings.mostExpected, "the number of nodes to start with")
        else { return nil }
        if expect > 1, !hasSource {
            fault(
                .bootstrapExpect, "\(expect)",
                "there is no way to find the other nodes: give --join with the addresses of all \(expect), or --disco-mode"
            )
        }
        return expect
    }

    mutating func isNonVoter() -> Bool {
        let choices = [("true", true), ("1", true), ("yes", true), ("false", false), ("0", false), ("no", false)]
        guard choice(.nonVoter, choices) == true, let origin = input[.nonVoter]?.origin else { return false }
        if input[.bootstrapExpect] != nil {
            faults.append(
                "\(origin): a node that never votes cannot found a cluster: leave --bootstrap-expect out on this node")
        }
        if !hasSource {
            faults.append("\(origin): a node that never votes can only join a cluster: give --join or --disco-mode")
        }
        return true
    }
}
