import Platform

/// The connections that have not said yet what they are, oldest first, within bounds.
///
/// At a bound the oldest one goes: a node of ours says at once what it is, so who has been silent longest is the least
/// likely to be one, and whoever opens connections and stays silent crowds out himself.
struct UnidentifiedConnections<Connection> {
    private struct Entry {
        var id: ObjectIdentifier
        var connection: Connection
        var source: String
    }

    /// How many there may be.
    let most: Int
    /// How many there may be from one source address.
    let mostOfOne: Int
    private var entries: [Entry] = []
    private var lastReport: BootInstant?

    /// Evictions are reported this far apart, however many there are.
    static var reportInterval: Duration { .seconds(60) }

    init(most: Int, mostOfOne: Int) {
        self.most = most
        self.mostOfOne = mostOfOne
    }

    /// A connection that had to make room.
    struct Eviction {
        var connection: Connection
        var source: String
        /// Whether an operator should be told of it now.
        var isReported: Bool
    }

    /// Takes a connection in, and the oldest out when a bound is reached: of the same source, or of all.
    mutating func enter(
        _ id: ObjectIdentifier, _ connection: Connection, from source: String, now: BootInstant
    ) -> Eviction? {
        defer { entries.append(Entry(id: id, connection: connection, source: source)) }
        let ofSource = entries.count { $0.source == source }
        guard ofSource >= mostOfOne || entries.count >= most else { return nil }
        let index = ofSource >= mostOfOne ? entries.firstIndex { $0.source == source } : entries.indices.first
        guard let index else { return nil }
        let entry = entries.remove(at: index)
        let isReported = lastReport.map { $0.duration(to: now) >= Self.reportInterval } ?? true
        if isReported { lastReport = now }
        return Eviction(connection: entry.connection, source: entry.source, isReported: isReported)
    }

    /// The connection has said what it is, or has ended.
    mutating func leave(_ id: ObjectIdentifier) {
        entries.removeAll { $0.id == id }
    }
}
