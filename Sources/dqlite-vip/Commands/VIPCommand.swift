import API
import ArgumentParser

/// Reads and changes the virtual address, from any node.
struct VIPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vip",
        abstract: "Show, set or clear the virtual IP address.",
        subcommands: [Get.self, Set.self, Clear.self])

    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the virtual address, with its prefix length; nothing while none is set.")

        @OptionGroup var api: APIOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            let vip = try api.ask { try await $0.virtualAddress() }
            if json {
                print(try JSONText.of(VIPDocument(vip: vip)))
            } else if vip.isEmpty {
                complain("no virtual address is set")
            } else {
                print(vip)
            }
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the virtual address; returns when the cluster has committed it.")

        @OptionGroup var api: APIOptions

        @Argument(help: ArgumentHelp("Like 192.0.2.10/24.", valueName: "address/prefix"))
        var address: String

        @Flag(help: "Print JSON.")
        var json = false

        func validate() throws {
            if address.isEmpty {
                throw ValidationError("the address is empty: give it like 192.0.2.10/24, or use: dqlite-vip vip clear")
            }
        }

        func run() throws {
            let address = address
            try api.ask { try await $0.setVirtualAddress(address) }
            print(json ? try JSONText.of(MessageDocument(message: "OK")) : "the virtual address is \(address)")
        }
    }

    struct Clear: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the virtual address away; no error when none is set.")

        @OptionGroup var api: APIOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try api.ask { try await $0.clearVirtualAddress() }
            print(json ? try JSONText.of(MessageDocument(message: "OK")) : "no virtual address is set any more")
        }
    }
}
