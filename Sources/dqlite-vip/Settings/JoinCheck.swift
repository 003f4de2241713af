import Discovery
import Platform

/// Whether the names in `--join` mean anything: the one check of the settings that needs the network.
///
/// It says what it found and decides nothing: a node that belongs to a cluster does not need `--join` any more, and at
/// boot the name server may come up after us.
struct JoinCheck: Hashable, Sendable {
    /// The addresses that were found.
    var addresses: [HostPort]
    /// What could not be resolved, each a sentence; empty when everything could.
    var failures: [String]

    /// Nothing can be reached with this list as things are.
    var isHopeless: Bool { addresses.isEmpty && !failures.isEmpty }

    /// Why a node without a cluster, and with nowhere else to look, would look in vain; nil when it would not.
    ///
    /// - Parameters:
    ///   - own: the address of the node itself.
    ///   - expects: whether it may found a cluster (`--bootstrap-expect`).
    func fault(own: HostPort, expects: Bool) -> String? {
        if isHopeless { return message }
        if !expects, failures.isEmpty, addresses == [own] {
            return
                "--join names this node itself (\(own)) and no other, and without --bootstrap-expect it would wait for ever: "
                + "give the address of another node, or leave --join out to found a cluster of one"
        }
        return nil
    }

    /// For the log or the terminal; nil when all is well.
    var message: String? {
        guard !failures.isEmpty else { return nil }
        let head =
            isHopeless
            ? "--join: not one of the addresses can be resolved, so this node cannot find others"
            : "--join: some addresses cannot be resolved"
        return
            "\(head): \(failures.joined(separator: "; ")): correct the names, /etc/hosts or DNS, or give IP addresses"
    }

    /// Resolves all names at once, within the resolver's limit of time.
    static func run(_ join: [HostPort], resolver: NameResolver = NameResolver()) async -> JoinCheck {
        let discovery = StaticDiscovery(join, resolver: resolver)
        do {
            let addresses = try await discovery.lookUp()
            return JoinCheck(addresses: addresses, failures: discovery.statistics.lastError.map { [$0] } ?? [])
        } catch {
            return JoinCheck(addresses: [], failures: [discovery.statistics.lastError ?? "\(error)"])
        }
    }
}
