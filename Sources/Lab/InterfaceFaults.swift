import Platform

/// What happens to the network card of a node, and to its own address.
extension Network {
    /// Another address for nodes that move: 10.42.0.`host`, 101...199 are free.
    public static func spareAddress(_ host: Int) -> IPAddress { IPAddress.inSubnet(host) }

    /// Takes an address away from a node's eth0, or gives it.
    public func setAddress(_ address: IPAddress, ofNode node: Int, present: Bool) throws {
        try ToolCommand.check(
            [
                "ip", "-n", servers[node - 1].name, "address", present ? "add" : "delete",
                "\(address)/\(Self.prefixLength)",
            ] + (present ? ["brd", "+"] : []) + ["dev", Self.interface])
    }

    /// Removes all IPv4 addresses of a node's eth0 but one.
    func dropForeignAddresses(ofNode node: Int, own: IPAddress) throws {
        for address in try addresses(ofNode: node) where !address.hasPrefix("\(own)/") {
            // One whose lifetime ends at this moment is gone, as it should be.
            _ = try ToolCommand.run(
                ["ip", "-n", servers[node - 1].name, "address", "delete", address, "dev", Self.interface])
        }
    }

    /// Takes the node's own interface down or up, as its operator does.
    public func setInterface(ofNode node: Int, up: Bool) throws {
        try ToolCommand.check(
            ["ip", "-n", servers[node - 1].name, "link", "set", Self.interface, up ? "up" : "down"])
    }

    /// Takes the card out: the interface is gone.
    public func removeInterface(ofNode node: Int) throws {
        try ToolCommand.check(["ip", "-n", switchNamespace.name, "link", "delete", "p\(node)"])
    }

    /// Puts in another card, with another hardware address, and gives it the address.
    public func addInterface(ofNode node: Int, address: IPAddress) throws {
        try connect(servers[node - 1], port: node, address: address)
    }

    /// Gives the card another hardware address, which takes no more than a moment.
    public func setHardwareAddress(ofNode node: Int, _ text: String) throws {
        try ToolCommand.check(
            ["ip", "-n", servers[node - 1].name, "link", "set", Self.interface, "address", text])
    }
}
