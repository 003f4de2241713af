import Platform

/// What stands in the raft directory of a node that does not run, and whether all of it is whole.
///
/// libdqlite starts on a damaged directory, too: it renames segments to `corrupt-…`, goes on with what is left, and votes with
/// a log that is shorter than what the node has acknowledged. Then a committed change can be lost. So whoever starts a node
/// looks here first. The rules are those by which libraft loads (uv_segment.c, uv_snapshot.c, uv_metadata.c of 0.15 to 0.22).
public struct RaftLog: Sendable {
    /// A file that is not as libraft left it.
    public struct Fault: Hashable, Sendable, CustomStringConvertible {
        /// With its path.
        public var file: String
        /// What is wrong, as the rest of a sentence about the file.
        public var reason: String

        public var description: String { "\(file) \(reason)" }
    }

    public internal(set) var faults: [Fault] = []
    /// Nobody has written anything there yet.
    public internal(set) var isEmpty = false
    /// The current term.
    public internal(set) var term: UInt64 = 0
    /// Of the last entry that can be read; 0 when there is none.
    public internal(set) var lastIndex: UInt64 = 0
    public internal(set) var lastTerm: UInt64 = 0
    /// The newest list of members that can be read, committed or not.
    public internal(set) var members: [RaftConfiguration.Member] = []
    /// Files in a format that this program does not know: nothing is said of them.
    public internal(set) var unknown: [String] = []
    /// The end of an open segment holds something that is no whole entry: what a power loss in the middle of a write
    /// leaves, and a damaged last entry as well.
    public internal(set) var hasTornEnd = false

    /// Reads a raft directory. It writes nothing.
    ///
    /// - Throws: `SystemError` when a file cannot be read at all.
    public init(directory: String) throws(SystemError) {
        var reader = RaftLogReader(directory: directory, names: try Directory.names(directory) ?? [])
        try reader.read()
        self = reader.log
    }

    init() {}
}

/// The files of a raft directory, by their names.
struct RaftFileNames {
    /// In the order of their indexes.
    var closed: [(name: String, first: UInt64, last: UInt64)] = []
    /// In the order in which they were made.
    var open: [(name: String, counter: UInt64)] = []
    /// Those that have both files, in the order of term, index and time.
    var snapshots: [(name: String, term: UInt64, index: UInt64, time: UInt64)] = []
    /// What libraft has put aside.
    var corrupt: [String] = []
    var metadata: [String] = []

    init(_ names: [String]) {
        let all = Set(names)
        for name in names {
            let parts = name.split(separator: "-", omittingEmptySubsequences: false)
            let numbers = parts.map(Self.number)
            if name.hasPrefix("corrupt-") {
                corrupt.append(name)
            } else if name == "metadata1" || name == "metadata2" {
                metadata.append(name)
            } else if parts.count == 2, parts[0] == "open", let counter = numbers[1] {
                open.append((name, counter))
            } else if parts.count == 2, parts[0].count >= 16, let first = numbers[0], let last = numbers[1] {
                closed.append((name, first, last))
            } else if parts.count == 4, parts[0] == "snapshot", let term = numbers[1], let index = numbers[2],
                let time = numbers[3], all.contains(name + ".meta")
            {
                snapshots.append((name, term, index, time))
            }
        }
        closed.sort { $0.first < $1.first }
        open.sort { $0.counter < $1.counter }
        snapshots.sort { ($0.term, $0.index, $0.time) < ($1.term, $1.index, $1.time) }
    }

    private static func number(_ text: Substring) -> UInt64? {
        text.utf8.allSatisfy { $0 >= 48 && $0 <= 57 } ? UInt64(text) : nil
    }
}
