import Glibc
import Platform
import VIP

/// Where the cluster port of this node listens, and where peers reach it.
struct NodeAddresses: Equatable {
    var listen: HostPort
    var advertised: HostPort

    /// Finds out what the command line leaves open: the node's own address is the first global IPv4 address of the
    /// interface, so that every node can be started with the same command.
    ///
    /// - Parameter addressesFile: lists the virtual addresses of an earlier run, which are never the node's own.
    /// - Throws: `StartFault` when the interface is not there; `HostAddress.LookupError` when it has no address yet, which
    ///   may change.
    static func find(_ settings: StartSettings, addressesFile: StoredFile) throws -> NodeAddresses {
        let port = settings.clusterBind.port
        if case .address(let address, _) = settings.clusterBind {
            let both = HostPort(host: address.description, port: port)
            return NodeAddresses(listen: both, advertised: both)
        }
        let left = (try? AddressesFile.read(addressesFile).entries.map(\.address.address)) ?? []
        let own = try HostAddress.firstGlobalIPv4(of: settings.interface, excluding: Set(left))
        let advertised = HostPort(host: own.description, port: port)
        if case .allAddresses(let family, _) = settings.clusterBind {
            guard family == .v4 else {
                throw StartFault(
                    "--bind-cluster [::]:\(port): IPv6 cluster addresses are not supported yet: write 0.0.0.0:\(port)",
                    .configuration)
            }
            return NodeAddresses(listen: HostPort(host: "0.0.0.0", port: port), advertised: advertised)
        }
        return NodeAddresses(listen: advertised, advertised: advertised)
    }
}

/// The name of this host, for people.
enum HostName {
    static var current: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
