import Platform

/// `<data-dir>/addresses`: the addresses that this node may set, so that the next run knows what to remove.
///
/// A text file, one address in each line with its interface: `192.0.2.10/24 eth0`. Lines that begin with `#` are remarks.
public enum AddressesFile {
    public struct Entry: Hashable, Sendable {
        public var address: VirtualAddress
        public var interface: String

        public init(address: VirtualAddress, interface: String) {
            self.address = address
            self.interface = interface
        }
    }

    /// What a file holds: its entries, and the lines that are none.
    public struct Content: Hashable, Sendable {
        public var entries: [Entry] = []
        public var damaged: [String] = []
    }

    /// Replaces the file; durable when it returns.
    ///
    /// - Throws: `SystemError` that names the file.
    public static func write(_ entries: [Entry], to file: StoredFile) throws(SystemError) {
        try file.write(encode(entries))
    }

    /// The content of the file; no entries when there is no file.
    ///
    /// - Throws: `SystemError` that names the file.
    public static func read(_ file: StoredFile) throws(SystemError) -> Content {
        guard let bytes = try file.read() else { return Content() }
        return decode(bytes)
    }

    static func encode(_ entries: [Entry]) -> [UInt8] {
        let lines =
            ["# Addresses that this node may set; dqlite-vip removes them when it starts. Do not edit."]
            + entries.map { "\($0.address) \($0.interface)" }.sorted()
        return Array(lines.map { $0 + "\n" }.joined().utf8)
    }

    /// Total: any bytes give a content.
    static func decode(_ bytes: [UInt8]) -> Content {
        var content = Content()
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.first != "#" {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            if words.count == 2, !words[1].isEmpty, let address = try? VirtualAddress(parsing: words[0]) {
                content.entries.append(Entry(address: address, interface: String(words[1])))
            } else {
                content.damaged.append(String(line))
            }
        }
        return content
    }
}

/// Removes what an earlier run left behind.
public enum LeftOvers {
    /// Removes every address that the list names, that is set, and that carries our tag, on whichever interface.
    ///
    /// Never another one: an address without the tag may be the host's. On a kernel that keeps no tags nothing is removed
    /// here, and the left-overs go by themselves within 1.1 s, because their lifetime ends.
    ///
    /// - Parameter file: the `AddressesFile`; it is no error when there is none.
    /// - Returns: what was removed.
    /// - Throws: `SystemError` when the list cannot be read, or an address cannot be removed.
    public static func remove(listedIn file: StoredFile) throws(SystemError) -> [InterfaceAddress] {
        let listed = try AddressesFile.read(file).entries
        guard !listed.isEmpty else { return [] }
        let session = try NetlinkSession()
        var removed: [InterfaceAddress] = []
        for found in try session.addresses() where found.isTagged {
            guard let entry = listed.first(where: { found.matches($0.address) }) else { continue }
            if try session.delete(entry.address, interface: found.interfaceIndex) { removed.append(found) }
        }
        return removed
    }
}
