/// The logs of all nodes of a run, as one tree: an entry knows the one before it, and a log is named by its last entry.
///
/// Raft lets no two entries have the same index and term, so two nodes that have an entry in common have all before it in
/// common, too; comparing logs is comparing numbers.
struct SimLog {
    typealias Entry = Int32

    private struct Node {
        var parent: Entry
        var index: Int32
        var term: UInt64
        /// The newest configuration up to here, and where it stands.
        var voters: SimVoters
        var configuredAt: Int32
    }

    private var nodes: [Node]

    /// - Parameter voters: of the initial configuration, which is entry 0.
    init(voters: SimVoters) {
        nodes = [Node(parent: 0, index: 0, term: 0, voters: voters, configuredAt: 0)]
        nodes.reserveCapacity(128)
    }

    func index(_ entry: Entry) -> Int32 { nodes[Int(entry)].index }
    func term(_ entry: Entry) -> UInt64 { nodes[Int(entry)].term }
    func voters(_ entry: Entry) -> SimVoters { nodes[Int(entry)].voters }

    /// Where the entry stands that names the newest voters.
    func configuredAt(_ entry: Entry) -> Int32 { nodes[Int(entry)].configuredAt }
    func parent(_ entry: Entry) -> Entry { nodes[Int(entry)].parent }

    /// The last entry that two logs have in common.
    func common(_ one: Entry, _ other: Entry) -> Entry {
        var (one, other) = (one, other)
        while one != other {
            if index(one) >= index(other) { one = parent(one) } else { other = parent(other) }
        }
        return one
    }

    /// The configuration in the entries after `previous`, if there is one.
    func newestVoters(of log: Entry, after previous: Entry) -> SimVoters? {
        nodes[Int(log)].configuredAt > index(previous) ? voters(log) : nil
    }

    /// The log that has one entry more.
    mutating func append(to log: Entry, term: UInt64, voters: SimVoters? = nil) -> Entry {
        let last = nodes[Int(log)]
        let index = last.index + 1
        nodes.append(
            Node(
                parent: log, index: index, term: term, voters: voters ?? last.voters,
                configuredAt: voters == nil ? last.configuredAt : index))
        return Entry(nodes.count - 1)
    }

    /// The entry of a log at an index that it reaches.
    func entry(_ log: Entry, at index: Int32) -> Entry {
        var entry = log
        while nodes[Int(entry)].index > index { entry = nodes[Int(entry)].parent }
        return entry
    }

    func contains(_ log: Entry, _ entry: Entry) -> Bool {
        index(log) >= index(entry) && self.entry(log, at: index(entry)) == entry
    }

    /// Whether a vote may be given to a candidate with another log.
    func isCurrent(_ candidate: Entry, for own: Entry) -> Bool {
        (term(candidate), index(candidate)) >= (term(own), index(own))
    }
}

/// A set of nodes, by their numbers from 0 to 7.
struct SimVoters: Equatable, BitwiseCopyable, CustomStringConvertible {
    var bits: UInt8

    init(bits: UInt8 = 0) { self.bits = bits }

    var count: Int { bits.nonzeroBitCount }
    func contains(_ id: Int) -> Bool { bits & 1 << UInt8(id) != 0 }
    mutating func insert(_ id: Int) { bits |= 1 << UInt8(id) }
    mutating func remove(_ id: Int) { bits &= ~(1 << UInt8(id)) }
    func without(_ id: Int) -> SimVoters { SimVoters(bits: bits & ~(1 << UInt8(id))) }

    /// Whether a set of nodes holds most of these.
    func haveMajority(in nodes: SimVoters) -> Bool { 2 * (bits & nodes.bits).nonzeroBitCount > count }

    var ids: [Int] { (0..<8).filter { contains($0) } }
    var description: String { "\(ids)" }
}
