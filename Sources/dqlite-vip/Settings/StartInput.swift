/// The settings of `start` as texts, before anything is checked, each with the place it came from.
struct StartInput: Hashable, Sendable {
    /// A setting; the raw value is its long flag without the dashes.
    enum Key: String, CaseIterable, Sendable {
        case dataDirectory = "data-dir"
        case bindCluster = "bind-cluster"
        case bindHTTP = "bind-http"
        case interface = "iface"
        case join
        case discoveryMode = "disco-mode"
        case discoveryKey = "disco-key"
        case discoveryConfiguration = "disco-config"
        case bootstrapExpect = "bootstrap-expect"
        case nonVoter = "non-voter"
        case vip
        case voters
        case standbys
        case demoteAfter = "demote-after"
        case failureDomain = "failure-domain"
        case leaveOnShutdown = "leave-on-shutdown"
        case reapAfter = "reap-after"
        case rejoin
        case timing
        case clusterName = "cluster-name"
        case nodeName = "node-name"
        case label
        case logLevel = "log-level"
        case logFormat = "log-format"

        var flag: String { "--" + rawValue }
        /// The environment variable that stands in for the flag: DQLITE_VIP_DATA_DIR and so on.
        var variable: String { "DQLITE_VIP_" + rawValue.uppercased().map { $0 == "-" ? "_" : String($0) }.joined() }
    }

    /// The texts given for a setting. Only `join`, `vip` and `label` can have several.
    struct Given: Hashable, Sendable {
        var texts: [String]
        /// How to name the setting in a message: the flag, or the variable when it came from there.
        var origin: String
    }

    private var values: [Key: Given] = [:]

    subscript(key: Key) -> Given? { values[key] }

    /// The one text of a setting that has one.
    func text(_ key: Key) -> String? { values[key]?.texts.last }

    mutating func give(_ key: Key, _ texts: [String]) {
        if !texts.isEmpty { values[key] = Given(texts: texts, origin: key.flag) }
    }

    mutating func give(_ key: Key, _ text: String?) {
        if let text { give(key, [text]) }
    }

    /// Takes from the environment what no flag gave. An empty variable counts as not set, as in systemd unit files.
    mutating func fill(from environment: [String: String]) {
        for key in Key.allCases where values[key] == nil {
            guard let text = environment[key.variable], !text.isEmpty else { continue }
            values[key] = Given(texts: [text], origin: key.variable)
        }
    }
}
