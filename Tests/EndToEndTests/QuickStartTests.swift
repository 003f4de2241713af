import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Quick start")
    struct QuickStartTests {
        /// The commands of the seed's README, with its variables filled in, run by a shell.
        private func script(_ lab: LabCluster, node number: Int, join: Int?) -> String {
            let node = lab[number]
            var text = """
                DATA_DIR=\(node.directory)/quick-start
                NODE_IP="\(node.address)"
                IFACE="eth0"
                """
            if let join { text += "\nJOIN_IP=\"\(lab[join].address)\"" }
            text += #"""

                dqlite-vip start \
                  --data-dir "${DATA_DIR}" \
                  --bind-cluster "${NODE_IP}:8800" \
                  --bind-http "127.0.0.1:9900" \
                  --iface "${IFACE}"
                """#
            if join != nil { text += " --join \"${JOIN_IP}:8800\"" }
            return text
        }

        private func start(_ lab: LabCluster, node: Int, join: Int?) throws {
            let directory = lab[node].binary.split(separator: "/").dropLast().joined(separator: "/")
            try lab[node].start(
                commandLine: ["sh", "-c", "PATH=/\(directory):$PATH\n" + script(lab, node: node, join: join)])
        }

        private func shell(_ text: String, in namespace: Namespace) async throws -> String {
            try await offloading { try ToolCommand.check(["sh", "-c", text], in: namespace) }
        }

        @Test("the seed's quick start works letter for letter")
        func letterForLetter() async throws {
            try await withLab(nodes: 3) { lab in
                try start(lab, node: 1, join: nil)
                _ = try await lab.formation(of: [1])
                try start(lab, node: 2, join: 1)
                try start(lab, node: 3, join: 1)
                let formation = try await lab.formation()
                #expect(formation.voters == 3)
                #expect(formation.addresses == lab.clusterAddresses)

                for node in lab.nodes {
                    let status = try await shell(
                        "curl http://localhost:9900/status | jq -r .is_leader", in: node.namespace)
                    #expect(status.hasPrefix("\(node.number == formation.leader)"))
                }
                let answer = try await shell(
                    """
                    VIP="\(lab.vip)" # replace with the virtual IP address
                    SUBNET_PREFIX_LENGTH="24" # replace with the subnet prefix length

                    curl -XPUT -d '{"vip":"'${VIP}/${SUBNET_PREFIX_LENGTH}'"}' http://localhost:9900/vip
                    """, in: lab[2].namespace)
                #expect(answer.contains(#""message":"OK""#))
                try await lab.held(by: formation.leader)
                _ = try await shell("VIP=\(lab.vip)\nping -c 1 ${VIP}", in: lab.network.client)
                for node in lab.nodes { #expect(try await node.vip() == lab.vipText) }
            }
        }

        @Test("the seed's short flags work, and --join is ignored once the node belongs to the cluster")
        func shortFlags() async throws {
            try await withLab(nodes: 2) { lab in
                func arguments(_ node: LabNode, join: String?) -> [String] {
                    [node.binary, "start", "-d", "data", "-i", "eth0"] + (join.map { ["-j", $0] } ?? [])
                }
                try lab[1].start(commandLine: arguments(lab[1], join: nil))
                _ = try await lab.formation(of: [1])
                try lab[2].start(commandLine: arguments(lab[2], join: "\(lab[1].address):8800"))
                let formation = try await lab.formation()
                try await lab[2].terminate()
                // Nobody answers there: had it to be asked, the node would not come back.
                try lab[2].start(commandLine: arguments(lab[2], join: "10.42.0.77:8800"))
                #expect(try await lab.formation().clusterID == formation.clusterID)
            }
        }

        @Test("a node without --join founds a cluster of one, and holds the address given by --vip")
        func alone() async throws {
            try await withLab(nodes: 1) { lab in
                var options = StartOptions()
                options.further = ["--vip", lab.vipText]
                try lab.startAll(options)
                try await lab.held(by: 1)
                let status = try await lab.formation().statuses[1]
                #expect(status?.vip == lab.vipText)
            }
        }

        @Test("--bind-cluster 0.0.0.0:8800 listens everywhere and tells peers the interface's address")
        func bindAll() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions.identical(expect: 2)
                options.bindCluster = "0.0.0.0:8800"
                try lab.startAll(options)
                let formation = try await lab.formation()
                #expect(formation.addresses == lab.clusterAddresses)
                _ = try TCPConnection(
                    to: HostPort(host: "127.0.0.1", port: 8800), in: lab[1].namespace, within: .seconds(2))
            }
        }
    }
}
