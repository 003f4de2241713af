import Discovery
import Platform

/// What the checks of the settings need to know of the world around, so that they do no I/O themselves.
struct SettingsSurroundings {
    /// The environment, for the variables in `--disco-config`.
    var environment: [String: String] = [:]
    /// Reads the text that `--disco-config` gives or names; throws `SystemError`.
    var load: (ConfigurationText) throws -> [UInt8] = { try $0.load() }
    /// What is wrong with a virtual address; nil when nothing is.
    var vipFault: (String) -> String? = { _ in nil }
    /// The values of `--disco-mode`.
    var modes = DiscoveryRegistry.modes
    /// What is wrong with a configuration for a mode, and which of its fields have no effect.
    var check: (_ mode: String, [String: JSONValue]) -> (faults: [String], ignored: [String]) = {
        DiscoveryRegistry.check(mode: $0, $1)
    }

    /// Those of this process.
    static func process(_ environment: [String: String]) -> SettingsSurroundings {
        SettingsSurroundings(
            environment: environment,
            vipFault: { text in
                do {
                    _ = try DaemonControl.checked([text])
                    return nil
                } catch {
                    return "\(error)"
                }
            })
    }
}
