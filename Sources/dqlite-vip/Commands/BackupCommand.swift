import API
import ArgumentParser
import Glibc
import Platform

/// Saves what the cluster has configured.
struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Print the configuration of the cluster as JSON, for `restore`; or save the database itself.",
        discussion: """
              dqlite-vip backup > dqlite-vip.json
              dqlite-vip restore dqlite-vip.json

            With --database the node that is asked writes its copy of the replicated database as one SQLite file, for looking \
            at it: it cannot be restored.
            """)

    @OptionGroup var api: APIOptions

    @Option(help: ArgumentHelp("Save the database to this file, which must not be there yet.", valueName: "file"))
    var database: String?

    func run() throws {
        guard let database else {
            return try Terminal.show(PrintableText(json: try api.ask { try await $0.backup() }), ending: "")
        }
        let bytes = try api.ask { try await $0.databaseFile() }
        do {
            guard !Directory.exists(database) else {
                throw SystemError("write", database, errno: EEXIST, remedy: "name a file that is not there")
            }
            try DurableFile.write(bytes, to: database)
        } catch {
            Terminal.complain("dqlite-vip: \(error)")
            throw ExitStatus.failure
        }
    }
}

/// Puts a backup in the place of what the cluster has configured.
struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Replace the configuration of the cluster by that of a backup, all of it at once.",
        discussion: "Returns when the cluster has committed it. Members and cluster id stay as they are.")

    @OptionGroup var api: APIOptions

    @Argument(help: ArgumentHelp("What `backup` printed; - reads standard input.", valueName: "file"))
    var file: String

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let bytes: [UInt8]
        do throws(SystemError) {
            guard let read = try DurableFile.read(file == "-" ? "/dev/stdin" : file, limit: 4 << 20) else {
                throw SystemError("read", file, errno: ENOENT)
            }
            bytes = read
        } catch {
            Terminal.complain("dqlite-vip: \(error)")
            throw ExitStatus.failure
        }
        let configuration: BackupDocument.Configuration
        do {
            configuration = try BackupDocument.configuration(in: bytes)
        } catch {
            Terminal.complain("dqlite-vip: \(file) cannot be restored: \(error)")
            throw ExitStatus.failure
        }
        try api.ask { try await $0.restore(bytes) }
        if json { return try Terminal.show(try JSONText.of(MessageDocument(message: "OK"))) }
        let addresses = configuration.addresses
        try Terminal.show(
            addresses.isEmpty
                ? "restored: no virtual address is set" : "restored: \(addresses.joined(separator: ", "))")
    }
}
