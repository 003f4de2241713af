public import Logging
public import Platform

/// A `Discovery` that `--disco-mode` can name.
///
/// To add one: a file or folder with a type that conforms, and a line in `DiscoveryRegistry`. DOC/DISCOVERY.md has an
/// example.
public protocol DiscoveryBackend: Discovery {
    /// What `--disco-config` says, checked.
    associatedtype Configuration: Sendable

    /// The value of `--disco-mode`.
    static var mode: String { get }

    /// Whether `--disco-key` means anything to it.
    static var usesKey: Bool { get }

    /// Reads all fields that the mode knows; what is wrong with them is noted in `fields`. No I/O.
    static func configuration(from fields: inout ConfigurationFields) -> Configuration

    /// - Throws: `DiscoveryError` when the configuration cannot work on this host: a file is missing, say.
    init(_ configuration: Configuration, _ context: DiscoveryContext) throws
}

extension DiscoveryBackend {
    public static var usesKey: Bool { true }
}

/// What a backend knows of the node that it works for.
public struct DiscoveryContext: Sendable {
    /// `--disco-key`: separates clusters that share one store or one LAN.
    public var key: String
    /// The port of this node's cluster address: that of the others, where nothing says otherwise.
    public var clusterPort: UInt16
    /// The family of this node's cluster address: of a name that has addresses of both, these are taken.
    public var family: IPAddress.Family?
    /// `--iface`.
    public var interface: String
    public var logger: Logger

    public init(key: String, clusterPort: UInt16, family: IPAddress.Family?, interface: String, logger: Logger) {
        self.key = key
        self.clusterPort = clusterPort
        self.family = family
        self.interface = interface
        self.logger = logger
    }
}
