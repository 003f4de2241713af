import Dqlite
import Platform

/// A virtual address that a node has as its own: whoever set it would take that node's traffic.
public struct AddressClash: Equatable, Sendable, CustomStringConvertible {
    /// As it was given, with or without a prefix length.
    public var virtual: String
    /// The cluster address of the node.
    public var node: String

    /// Looks for the first.
    ///
    /// - Parameter places: where each member is, as far as is known; beside the address that the configuration has for it, where
    ///   other members may still take it to be.
    public static func find(
        _ virtuals: [String], _ members: [DqliteMember], places: (DqliteMember) -> HostPort?
    ) -> AddressClash? {
        for member in members {
            let known = [places(member), try? HostPort(parsing: member.address)].compactMap { $0 }
            for place in known { if let clash = find(virtuals, place) { return clash } }
        }
        return nil
    }

    /// - Parameter place: the address of one node.
    public static func find(_ virtuals: [String], _ place: HostPort) -> AddressClash? {
        guard let own = place.address else { return nil }
        let same = virtuals.first { IPAddress($0.prefix { $0 != "/" }) == own }
        return same.map { AddressClash(virtual: $0, node: place.description) }
    }

    public var description: String {
        "\(virtual) is the own address of the node \(node): a virtual address must be one that no machine has"
    }
}
