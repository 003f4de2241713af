import Platform

/// Where a dqlite node listens for the wire protocol.
public enum DqliteAddress: Sendable, Hashable, CustomStringConvertible {
    /// A socket in Linux's abstract namespace (unix(7)), by its name without the leading NUL (or "@").
    ///
    /// libdqlite accepts there only connections from its own process (SO_PEERCRED).
    case abstractSocket(String)
    /// A TCP port. The blocking users (`LeaderProbe`) want an address, not a host name.
    case tcp(HostPort)

    public var description: String {
        switch self {
        case .abstractSocket(let name): "@" + name
        case .tcp(let address): address.description
        }
    }
}
