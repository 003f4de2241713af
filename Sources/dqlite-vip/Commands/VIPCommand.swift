import API
import ArgumentParser

/// Reads and changes the virtual addresses, from any node.
struct VIPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vip",
        abstract: "Show, set or clear the virtual IP addresses.",
        subcommands: [Get.self, Set.self, Clear.self])

    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the virtual addresses, each with its prefix length on a line; nothing while none is set.")

        @OptionGroup var api: APIOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            let addresses = try api.ask { try await $0.virtualAddresses() }
            if json {
                try Terminal.show(try JSONText.of(Answer(addresses: addresses, vip: addresses.first ?? "")))
            } else if addresses.isEmpty {
                Terminal.complain("no virtual address is set")
            } else {
                try Terminal.show(PrintableText(lines: addresses))
            }
        }
    }

    /// What `vip get --json` prints.
    private struct Answer: Encodable {
        var addresses: [String]
        /// The first of them, or "".
        var vip: String
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the virtual address, or several that move as one, in the place of those that are set.",
            discussion: "Returns when the cluster has committed it.")

        @OptionGroup var api: APIOptions

        @Argument(help: ArgumentHelp("Like 192.0.2.10/24 or 2001:db8::10/64.", valueName: "address/prefix"))
        var addresses: [String]

        @Flag(help: "Print JSON.")
        var json = false

        func validate() throws {
            if addresses.contains("") {
                throw ValidationError("the address is empty: give it like 192.0.2.10/24, or use: dqlite-vip vip clear")
            }
        }

        func run() throws {
            let addresses = addresses
            try api.ask { try await $0.setVirtualAddresses(addresses) }
            let what = addresses.count == 1 ? "the virtual address is" : "the virtual addresses are"
            try Terminal.show(
                json
                    ? try JSONText.of(MessageDocument(message: "OK")) : "\(what) \(addresses.joined(separator: ", "))")
        }
    }

    struct Clear: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the virtual addresses away; no error when none is set.")

        @OptionGroup var api: APIOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try api.ask { try await $0.clearVirtualAddresses() }
            try Terminal.show(
                json ? try JSONText.of(MessageDocument(message: "OK")) : "no virtual address is set any more")
        }
    }
}
