/// The modes that `--disco-mode` knows, besides "static", which is `--join`.
public enum DiscoveryRegistry {
    /// One line for each backend.
    static let backends: [any DiscoveryBackend.Type] = [
        DNSDiscovery.self,
        DNSServiceDiscovery.self,
        KeyValueDiscovery<ConsulStore>.self,
        KeyValueDiscovery<EtcdStore>.self,
        MulticastDiscovery.self,
    ]

    public static let staticMode = "static"

    /// All values of `--disco-mode`.
    public static var modes: [String] { [staticMode] + backends.map { $0.mode } }

    /// Whether `--disco-key` means anything to a mode.
    public static func usesKey(_ mode: String) -> Bool {
        backends.first { $0.mode == mode }?.usesKey ?? false
    }

    /// What is wrong with a configuration for a mode, each a sentence; and which of its fields have no effect here.
    ///
    /// Without I/O. A mode that is not known has no faults here.
    public static func check(
        mode: String, _ configuration: [String: JSONValue]
    ) -> (faults: [String], ignored: [String]) {
        var fields = ConfigurationFields(configuration)
        if let backend = backends.first(where: { $0.mode == mode }) { read(backend, &fields) }
        fields.finish()
        return (fields.faults, fields.ignored)
    }

    private static func read<Backend: DiscoveryBackend>(_ backend: Backend.Type, _ fields: inout ConfigurationFields) {
        _ = backend.configuration(from: &fields)
    }

    /// Makes the backend of a mode; nil for "static" and for modes that are not known.
    ///
    /// - Throws: `DiscoveryError` when the configuration cannot work on this host.
    public static func make(
        mode: String, _ configuration: [String: JSONValue], _ context: DiscoveryContext
    ) throws -> (any Discovery)? {
        guard let backend = backends.first(where: { $0.mode == mode }) else { return nil }
        return try make(backend, configuration, context)
    }

    private static func make<Backend: DiscoveryBackend>(
        _ backend: Backend.Type, _ configuration: [String: JSONValue], _ context: DiscoveryContext
    ) throws -> any Discovery {
        var fields = ConfigurationFields(configuration)
        return try Backend(backend.configuration(from: &fields), context)
    }
}
