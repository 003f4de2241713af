import Platform

/// keepalived on the nodes of a laboratory, as a measure: what Debian's package does in the same network, seen by the same
/// observers.
public struct Keepalived: Sendable {
    public enum Variant: String, CaseIterable, Sendable {
        /// As its manual begins: VRRPv2, an advertisement each second, one MASTER and BACKUPs, pre-emption.
        case standard = "keepalived"
        /// VRRPv3, an advertisement every 0.1 s, all BACKUP, no pre-emption.
        case fast = "keepalived 0.1 s"

        /// How long to wait until nobody pre-empts anybody any more.
        public var settleTime: Duration { self == .standard ? .seconds(6) : .seconds(2) }
    }

    public let variant: Variant
    private let lab: LabCluster

    public init(_ variant: Variant, _ lab: LabCluster) {
        self.variant = variant
        self.lab = lab
    }

    /// Starts it everywhere. Nothing of the product may run.
    public func start() throws {
        for node in lab.nodes {
            let file = "\(node.directory)/keepalived.conf"
            try writeFile(configuration(node), to: file)
            // It takes what an earlier one left for a running one.
            for name in ["k.pid", "v.pid"] { FileTree.remove("\(node.directory)/\(name)") }
            try node.start(commandLine: [
                "keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", file, "-p", "\(node.directory)/k.pid",
                "-r", "\(node.directory)/v.pid",
            ])
        }
    }

    /// Ends it everywhere and removes the addresses that it leaves.
    public func stop() async throws {
        for node in lab.nodes {
            try await node.kill9()
            try lab.network.dropForeignAddresses(ofNode: node.number)
        }
    }

    /// Breaks the holder and watches, as for the product.
    public func measure(_ fault: Fault) async throws -> FaultReport {
        try await lab.measure(
            fault, settle: variant.settleTime, within: .seconds(8), observe: .seconds(3),
            isReady: { lab.nodes.allSatisfy { $0.daemonPID != nil } })
    }

    /// Puts a node right again, as its operator would.
    public func recover(from fault: Fault, onNode number: Int) async throws {
        switch fault {
        case .linkCut, .silentPartition, .stopDaemon, .stopAll, .kill9Daemon, .powerOff: break
        case .kill9, .kill9Guard, .terminate:
            try await lab[number].kill9()
            try lab.network.dropForeignAddresses(ofNode: number)
        }
        if fault != .kill9Daemon {
            for name in ["k.pid", "v.pid"] where lab[number].guardPID == nil {
                FileTree.remove("\(lab[number].directory)/\(name)")
            }
        }
        try await lab.recover(from: fault, onNode: number)
    }

    private func configuration(_ node: LabNode) -> String {
        let isFast = variant == .fast
        let state = !isFast && node.number == 1 ? "MASTER" : "BACKUP"
        // Far apart, so that two backups do not time out in one millisecond.
        let priority = isFast ? max(10, 330 - 80 * node.number) : 102 - node.number
        return """
            global_defs {
                router_id node\(node.number)
                \(isFast ? "vrrp_version 3" : "")
            }
            vrrp_instance lab {
                interface \(Network.interface)
                virtual_router_id 51
                state \(state)
                priority \(priority)
                advert_int \(isFast ? "0.10" : "1")
                \(isFast ? "nopreempt" : "")
                virtual_ipaddress {
                    \(lab.vipText)
                }
            }

            """
    }
}
