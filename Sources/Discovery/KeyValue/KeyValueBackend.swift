/// A key-value store that `--disco-mode` can name: with `KeyValueDiscovery` around it, it is a `DiscoveryBackend`.
protocol ConfigurableStore: KeyValueStore {
    associatedtype Configuration: Sendable

    /// The value of `--disco-mode`.
    static var mode: String { get }

    /// Reads all fields that the store knows; what is wrong with them is noted in `fields`. No I/O.
    static func configuration(from fields: inout ConfigurationFields) -> Configuration

    /// - Parameter key: the `--disco-key`.
    /// - Throws: `DiscoveryError` when the configuration cannot work on this host: a file is missing, say.
    init(_ configuration: Configuration, key: String) throws
}

extension KeyValueDiscovery: DiscoveryBackend where Store: ConfigurableStore {
    static var mode: String { Store.mode }

    static func configuration(from fields: inout ConfigurationFields) -> Store.Configuration {
        Store.configuration(from: &fields)
    }

    convenience init(_ configuration: Store.Configuration, _ context: DiscoveryContext) throws {
        self.init(try Store(configuration, key: context.key), mode: Store.mode, logger: context.logger)
    }
}
