import Discovery
import Platform

/// Where a node looks for others: `--join`, a `--disco-mode`, or both.
struct DiscoverySettings: Hashable, Sendable {
    /// What `--disco-mode` chose besides the static list.
    struct Backend: Hashable, Sendable {
        /// As `DiscoveryRegistry` knows it.
        var mode: String
        /// What `--disco-config` says, checked. Passwords and tokens are in it.
        var configuration: [String: JSONValue]
        /// The fields of it that have no effect here.
        var ignored: [String]
    }

    static let defaultKey = "dqlite-vip"

    /// Without repetitions, in the order given.
    var join: [HostPort] = []
    var backend: Backend?
    /// Separates clusters that share one store or one LAN: parts with "/" between them.
    var key = defaultKey
    /// The port of this node's cluster address, and of the others' where nothing says otherwise.
    var clusterPort = StartSettings.defaultClusterPort
    /// The family of this node's cluster address.
    var family = IPAddress.Family.v4
    /// `--iface`; empty when it is not given, which `discover` allows.
    var interface = ""

    /// There is no way to find anybody.
    var isNowhere: Bool { join.isEmpty && backend == nil }
}

// Whoever prints settings, for whatever reason, prints no secrets.
extension DiscoverySettings.Backend: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    var description: String { "\(mode), \(configuration.count) fields" }
    var debugDescription: String { description }
    var customMirror: Mirror { Mirror(self, children: ["mode": mode]) }
}
