import Glibc
import Platform

/// Finds the host's own address, for a node that is told an interface and no address.
public enum HostAddress {
    /// Why an interface has no address to offer.
    public enum LookupError: Error, Equatable, Sendable, CustomStringConvertible {
        case noSuchInterface(String, existing: [String])
        /// The interface has no global IPv4 address of the host; `left` are those that were passed over, with the reason.
        case noAddress(String, left: [String])
        case system(SystemError)

        public var description: String {
            switch self {
            case .noSuchInterface(let name, let existing):
                let list = existing.isEmpty ? "this host has none" : "this host has \(existing.joined(separator: ", "))"
                return "there is no network interface \"\(name)\": \(list)"
            case .noAddress(let name, let left):
                let passed = left.isEmpty ? "" : " (passed over: \(left.joined(separator: ", ")))"
                return "interface \(name) has no global IPv4 address of this host\(passed): give it one, or name the "
                    + "address to use explicitly"
            case .system(let error): return error.description
            }
        }
    }

    /// The first IPv4 address of global scope on an interface that is no virtual address of ours.
    ///
    /// - Parameters:
    ///   - interface: name or alternative name.
    ///   - excluding: addresses that are virtual although they carry no tag, on kernels before 5.18.
    /// - Returns: the address, without prefix length.
    /// - Throws: `LookupError`.
    public static func firstGlobalIPv4(
        of interface: String, excluding: Set<IPAddress> = []
    ) throws(LookupError) -> IPAddress {
        do {
            let session = try NetlinkSession()
            guard let link = try session.link(named: interface) else {
                throw LookupError.noSuchInterface(interface, existing: try session.links().map(\.name))
            }
            return try choose(
                from: try session.addresses(interface: link.index), of: interface, excluding: excluding)
        } catch let error as SystemError {
            throw .system(error)
        } catch let error as LookupError {
            throw error
        } catch {
            // Nothing above throws any other type.
            throw .system(SystemError("find an address of", interface, errno: EINVAL))
        }
    }

    static func choose(
        from addresses: [InterfaceAddress], of interface: String, excluding: Set<IPAddress>
    ) throws(LookupError) -> IPAddress {
        var left: [String] = []
        for candidate in addresses where candidate.address.family == .v4 {
            if candidate.isTagged || excluding.contains(candidate.address) {
                left.append("\(candidate.address) is a virtual address")
            } else if !candidate.isGlobal {
                left.append("\(candidate.address) is valid on this link or host only")
            } else {
                return candidate.address
            }
        }
        throw .noAddress(interface, left: left)
    }
}
