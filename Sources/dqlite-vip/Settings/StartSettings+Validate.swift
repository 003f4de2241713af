import Cluster
import Logging
import Platform

/// Everything that is wrong with the settings, at once.
struct SettingsFaults: Error, Hashable, Sendable, CustomStringConvertible {
    /// Each names the flag, the value unless it may be secret, and the remedy.
    var faults: [String]

    private var head: String {
        faults.count == 1 ? "the configuration has a fault:" : "the configuration has \(faults.count) faults:"
    }

    /// Tells the user of a command.
    func complain() {
        Terminal.complain(PrintableText(lines: ["dqlite-vip: \(head)"] + faults.map { "  " + $0 }))
    }

    var description: String {
        return ([head] + faults.map { "  " + $0 }).joined(separator: "\n")
    }
}

extension StartSettings {
    static let defaultClusterPort: UInt16 = 8800
    static let defaultAPI = HostPort(host: "127.0.0.1", port: 9900)
    /// dqlite is not made for more.
    static let mostVoters = 7
    static let mostExpected = Agreement.maximumMembers

    /// Checks the settings as a whole; throws all faults together. What it does of I/O is what `surroundings` do: the same
    /// input in the same surroundings always has the same outcome.
    static func validate(
        _ input: StartInput, in surroundings: SettingsSurroundings
    ) throws(SettingsFaults) -> StartSettings {
        var check = SettingsCheck(input: input, surroundings: surroundings)
        let checked = check.everything()
        guard check.faults.isEmpty, let dataDirectory = checked.dataDirectory, let interface = checked.interface,
            let clusterBind = checked.clusterBind, let apiBind = checked.apiBind
        else {
            throw SettingsFaults(faults: check.faults)
        }
        return StartSettings(
            dataDirectory: dataDirectory, clusterBind: clusterBind, apiBind: apiBind, interface: interface,
            discovery: checked.discovery, bootstrapExpect: checked.bootstrapExpect, isNonVoter: checked.isNonVoter,
            virtualAddresses: checked.virtualAddresses, voters: checked.voters, clusterName: checked.clusterName,
            logLevel: checked.logLevel, logFormat: checked.logFormat, timing: checked.timing,
            membership: checked.membership, nodeName: checked.nodeName, labels: checked.labels)
    }
}

/// The settings of `discover`: those of `start`, all checked in the same way, but no node need be able to run with them.
struct DiscoverSettings: Hashable, Sendable {
    var discovery: DiscoverySettings
    var bootstrapExpect: Int?
    /// Nothing below errors unless `--log-level` says otherwise: what is wrong is in the report.
    var logLevel: Logger.Level
    var logFormat: LogFormat

    static func validate(
        _ input: StartInput, in surroundings: SettingsSurroundings
    ) throws(SettingsFaults) -> DiscoverSettings {
        var check = SettingsCheck(input: input, surroundings: surroundings, isForNode: false)
        let checked = check.everything()
        guard check.faults.isEmpty else { throw SettingsFaults(faults: check.faults) }
        return DiscoverSettings(
            discovery: checked.discovery, bootstrapExpect: checked.bootstrapExpect,
            logLevel: input[.logLevel] == nil ? .error : checked.logLevel, logFormat: checked.logFormat)
    }
}
