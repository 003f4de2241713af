public import Platform
import Synchronization

/// `--disco-mode dns`: the nodes are the addresses of one DNS name, all on one port.
///
/// `--disco-config` has the fields `name` ("dqlite-vip") and `port` (that of this node's cluster address).
public final class DNSDiscovery: DiscoveryBackend {
    public struct Configuration: Hashable, Sendable {
        /// Resolved with the host's search domains, unless it ends with a dot.
        public var name: String
        /// nil: the port of this node's cluster address.
        public var port: UInt16?

        public init(name: String = defaultName, port: UInt16? = nil) {
            self.name = name
            self.port = port
        }
    }

    public static let mode = "dns"
    public static let usesKey = false
    public static let defaultName = "dqlite-vip"

    private let name: String
    private let port: UInt16
    private let family: IPAddress.Family?
    private let client: DNSClient
    private let state = Mutex(DiscoveryStatistics(mode: mode))

    public static func configuration(from fields: inout ConfigurationFields) -> Configuration {
        Configuration(
            name: fields.dnsName(orElse: defaultName),
            port: fields.integer("port", 1...65535).map { UInt16($0) })
    }

    public convenience init(_ configuration: Configuration, _ context: DiscoveryContext) {
        self.init(configuration, context, client: DNSClient())
    }

    init(_ configuration: Configuration, _ context: DiscoveryContext, client: DNSClient) {
        name = configuration.name
        port = configuration.port ?? context.clusterPort
        family = context.family
        self.client = client
    }

    /// The addresses in ascending order. Takes seven seconds at most.
    public func lookUp() async throws -> [HostPort] {
        do {
            let (addresses, problem) = try await client.addresses(of: name, family: family)
            let candidates = addresses.map { HostPort(host: $0.description, port: port) }
            state.withLock { $0.note(candidates, problem: problem.map { DiscoveryError([$0]).message }) }
            return candidates
        } catch let failures as DNSFailures {
            let error = DiscoveryError(failures.list)
            state.withLock { $0.lastError = error.message }
            throw error
        }
    }

    public var statistics: DiscoveryStatistics { state.withLock { $0 } }

    public var description: String { "dns: the addresses of \"\(name)\", port \(port)" }
}

extension ConfigurationFields {
    /// The field "name", checked.
    mutating func dnsName(orElse name: String) -> String {
        guard let given = text("name") else { return name }
        if IPAddress(given) != nil {
            fault("name", "\"\(given)\" is an address: give the DNS name that has it, or the address to --join")
        } else if let reason = DNSName.fault(in: given) {
            fault("name", reason)
        }
        return given
    }
}

extension DiscoveryStatistics {
    /// Takes note of an answer, and of what went wrong besides.
    mutating func note(_ candidates: [HostPort], problem: String?) {
        lastContact = .now
        lastAddresses = candidates
        lastError = problem
    }
}
