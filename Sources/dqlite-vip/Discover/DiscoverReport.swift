import Discovery
import Platform

/// What one look-up of all sources found: for a person as a table, for a program as JSON.
struct DiscoverReport: Hashable, Sendable {
    /// One way of looking for others.
    struct Source: Hashable, Sendable {
        /// "static", "dns", ...
        var mode: String
        /// What was asked, in the source's own words.
        var asked: String
        var addresses: [HostPort]
        var duration: Duration
        /// Why there is no answer.
        var error: String?
        /// What went wrong although there is an answer: one name of several, say.
        var warning: String?
    }

    /// One address that was found.
    struct Address: Hashable, Sendable {
        var address: HostPort
        /// The modes of the sources that named it.
        var sources: [String]
        var port: PortFinding
        var isThisHost: Bool
    }

    /// `--disco-key`, when the mode asks for one.
    var key: String?
    var sources: [Source]
    /// In the order in which a node would get them.
    var addresses: [Address]
    /// What an operator should know and what is no fault.
    var notes: [String]

    init(
        key: String?, sources: [Source], bootstrapExpect: Int?, notes: [String],
        examine: (HostPort) -> (port: PortFinding, isThisHost: Bool)
    ) {
        self.key = key
        self.sources = sources
        self.notes = notes
        addresses = []
        for address in Self.union(of: sources) {
            let (port, isThisHost) = examine(address)
            addresses.append(
                Address(
                    address: address, sources: sources.filter { $0.addresses.contains(address) }.map(\.mode),
                    port: port,
                    isThisHost: isThisHost))
        }
        // A node counts itself, whether or not the sources name it.
        let nodes = addresses.count + (addresses.contains(where: \.isThisHost) ? 0 : 1)
        if let bootstrapExpect, nodes < bootstrapExpect {
            self.notes.append(
                "--bootstrap-expect \(bootstrapExpect): with this host \(nodes) of them "
                    + "\(nodes == 1 ? "is" : "are") known: a node would wait for \(bootstrapExpect - nodes) more")
        }
    }

    static func union(of sources: [Source]) -> [HostPort] {
        var seen: Set<HostPort> = []
        return sources.flatMap(\.addresses).filter { seen.insert($0).inserted }
    }

    // MARK: - Verdict

    /// Why a node would not find the others with these settings; empty when it would.
    var failures: [String] {
        var failures: [String] = []
        if addresses.isEmpty {
            failures += sources.compactMap { source in source.error.map { "\(source.mode): \($0)" } }
            failures.append("no address was found")
        }
        failures += addresses.filter { $0.port.state == .http }.map { "\($0.address): \($0.port.detail)" }
        return failures
    }

    /// What went wrong and did not keep the rest from working.
    var warnings: [String] {
        sources.flatMap { source in
            [addresses.isEmpty ? nil : source.error, source.warning].compactMap { $0 }.map { "\(source.mode): \($0)" }
        }
    }
}

extension DiscoverReport {
    /// For a person.
    var text: PrintableText {
        var rows = key.map { [["key", $0]] } ?? []
        for source in sources {
            rows.append([source.mode, source.asked])
            let count = source.addresses.count
            let found = count == 0 ? "no address" : count == 1 ? "1 address" : "\(count) addresses"
            let time = Self.text(source.duration)
            rows.append(["", source.error.map { "failed after \(time): \($0)" } ?? "\(found) in \(time)"])
            if let warning = source.warning { rows.append(["", "but: \(warning)"]) }
        }
        var table = [["ADDRESS", "FROM", "PORT", ""]]
        for address in addresses {
            let own = address.isThisHost ? " (this host)" : ""
            table.append([
                "\(address.address)", address.sources.joined(separator: ", "), address.port.state.rawValue,
                address.port.detail + own,
            ])
        }
        var text = PrintableText(rows: rows)
        if !addresses.isEmpty { text = text + "\n" + PrintableText(rows: table) }
        if !notes.isEmpty { text = text + "\n" + PrintableText(lines: notes) }
        return text
    }

    private static func text(_ duration: Duration) -> String {
        let milliseconds = duration.inMilliseconds
        return milliseconds < 1000 ? "\(milliseconds) ms" : "\(milliseconds / 1000).\(milliseconds / 100 % 10) s"
    }
}

extension DiscoverReport: Encodable {
    private enum Keys: String, CodingKey {
        case key, sources, addresses, notes, warnings, failures
        case mode, asked, milliseconds, error, warning
        case address, port, detail
        case isThisHost = "this_host"
    }

    // Written out for the nulls: the same fields each time.
    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(key, forKey: .key)
        try container.encode(notes, forKey: .notes)
        try container.encode(warnings, forKey: .warnings)
        try container.encode(failures, forKey: .failures)
        var list = container.nestedUnkeyedContainer(forKey: .sources)
        for source in sources {
            var fields = list.nestedContainer(keyedBy: Keys.self)
            try fields.encode(source.mode, forKey: .mode)
            try fields.encode(source.asked, forKey: .asked)
            try fields.encode(source.addresses, forKey: .addresses)
            try fields.encode(source.duration.inMilliseconds, forKey: .milliseconds)
            try fields.encode(source.error, forKey: .error)
            try fields.encode(source.warning, forKey: .warning)
        }
        list = container.nestedUnkeyedContainer(forKey: .addresses)
        for address in addresses {
            var fields = list.nestedContainer(keyedBy: Keys.self)
            try fields.encode(address.address, forKey: .address)
            try fields.encode(address.sources, forKey: .sources)
            try fields.encode(address.port.state, forKey: .port)
            try fields.encode(address.port.detail, forKey: .detail)
            try fields.encode(address.isThisHost, forKey: .isThisHost)
        }
    }
}
