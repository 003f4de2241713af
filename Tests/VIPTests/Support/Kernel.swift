import Testing

/// What the kernel under the tests has.
enum Kernel {
    /// Devices for VLANs (8021q): tried once, in a namespace that goes again.
    static let hasVLANs: Bool = {
        let tried = try? runCommand([
            "unshare", "--net", "sh", "-c",
            "ip link add t0 type veth peer name t1 && ip link add link t0 name t0.5 type vlan id 5 2>/dev/null && echo yes || echo no",
        ])
        return tried?.contains("yes") == true
    }()
}
