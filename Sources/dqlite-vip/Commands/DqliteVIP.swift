import ArgumentParser

/// The root of the command line.
struct DqliteVIP: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dqlite-vip",
        abstract: "A virtual IP address on the leader of a dqlite cluster that forms by itself.",
        discussion: """
            Start the same command on each machine, then look at the cluster from any of them:

              dqlite-vip start --data-dir /var/lib/dqlite-vip --iface eth0 \\
                --join 192.0.2.1,192.0.2.2,192.0.2.3 --bootstrap-expect 3
              dqlite-vip vip set 192.0.2.10/24
              dqlite-vip status

            Exit status: 0 done; 1 failed; 3 the node is not ready (status); 64 the command line cannot be understood; \
            69 the API cannot be reached; 78 a setting is wrong.
            """,
        version: "dqlite-vip \(Version.product)",
        subcommands: [
            StartCommand.self, DiscoverCommand.self, StatusCommand.self, VIPCommand.self, FailoverCommand.self,
            NodeCommand.self,
            BackupCommand.self, RestoreCommand.self, RecoverCommand.self,
            VersionCommand.self,
        ])
}
