import Discovery
import Logging
import Platform

/// Makes the discovery of a node from its settings.
enum NodeDiscovery {
    /// What looks for others: `--join`, the backend of `--disco-mode`, or both as one; a list without entries for neither.
    ///
    /// - Throws: `StartFault` when the configuration cannot work on this host.
    static func make(_ settings: DiscoverySettings, logger: Logger) throws(StartFault) -> any Discovery {
        let sources = try sources(settings, logger: logger)
        return switch sources.count {
        case 0: StaticDiscovery([])
        case 1: sources[0]
        default: UnitedDiscovery(sources)
        }
    }

    /// The sources one by one, the static list first.
    static func sources(_ settings: DiscoverySettings, logger: Logger) throws(StartFault) -> [any Discovery] {
        var sources: [any Discovery] = []
        if !settings.join.isEmpty { sources.append(StaticDiscovery(settings.join, family: settings.family)) }
        guard let backend = settings.backend else { return sources }
        let context = DiscoveryContext(
            key: settings.key, clusterPort: settings.clusterPort, family: settings.family,
            interface: settings.interface, logger: logger)
        do {
            guard let made = try DiscoveryRegistry.make(mode: backend.mode, backend.configuration, context) else {
                throw StartFault("--disco-mode \(backend.mode): there is no such mode", .configuration)
            }
            sources.append(made)
        } catch let fault as StartFault {
            throw fault
        } catch {
            throw StartFault("--disco-mode \(backend.mode): \(error)", .configuration)
        }
        return sources
    }
}

extension DiscoverySettings {
    /// The key, when the mode asks for one.
    var keyInUse: String? {
        backend.flatMap { DiscoveryRegistry.usesKey($0.mode) ? key : nil }
    }

    /// What the log says once at the start about fields that mean nothing here; nil when there are none.
    var ignoredNotice: String? {
        guard let backend, !backend.ignored.isEmpty else { return nil }
        return "--disco-config: without effect in the mode \(backend.mode): \(backend.ignored.joined(separator: ", "))"
    }
}
