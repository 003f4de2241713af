import Platform

/// What libraft keeps of its vote on disk, in `metadata1` and `metadata2` of a node's data directory.
///
/// Each file is four little-endian u64: format (1), version, term, voted_for. libraft writes them in turn with a
/// rising version, so the higher version counts, and a file torn by a crash leaves the other one.
public struct RaftMetadata: Sendable, Hashable {
    private static let format: UInt64 = 1

    /// The node's current term.
    public var term: UInt64
    /// For whom it has voted in that term, itself included; 0 for nobody.
    public var votedFor: DqliteNodeID

    public init(term: UInt64, votedFor: DqliteNodeID) {
        self.term = term
        self.votedFor = votedFor
    }

    /// The current term of the node whose data directory this is.
    ///
    /// - Returns: nil when neither file can be read: an empty directory, or both damaged.
    public static func term(inDirectory directory: String) -> UInt64? { read(inDirectory: directory)?.term }

    /// Term and vote of the node whose data directory this is.
    ///
    /// - Returns: nil when neither file can be read: an empty directory, or both damaged.
    public static func read(inDirectory directory: String) -> RaftMetadata? { newest(inDirectory: directory)?.metadata }

    private static func newest(inDirectory directory: String) -> (version: UInt64, metadata: RaftMetadata)? {
        var newest: (version: UInt64, metadata: RaftMetadata)?
        for name in ["metadata1", "metadata2"] {
            // An unreadable file is the case that the second file exists for; when both are, nil says so.
            guard let content = try? DurableFile.read(directory + "/" + name, limit: 4096),
                let found = decode(content)
            else { continue }
            if newest.map({ found.version > $0.version }) ?? true { newest = found }
        }
        return newest
    }

    /// Moves a node that is the only voter on to a new term, before it is started.
    ///
    /// libraft lets the only voter lead again in the term that it led before, with no vote (`convertToCandidate`). If it was killed after
    /// an entry had been sent to a node that has no vote, and before its own disk had it, it then writes another entry under the same
    /// index and term, and the two differ for ever (DOC/LIBRAFT.md). With a new term they cannot be taken for the same.
    ///
    /// - Parameter id: of the node whose directory this is; libdqlite must not run on it.
    /// - Returns: the new term; nil when nothing was to be done: there are other voters, or nothing is there yet.
    /// - Throws: `SystemError`.
    @discardableResult
    public static func beginTerm(ofOnlyVoter id: DqliteNodeID, inDirectory directory: String) throws(SystemError)
        -> UInt64?
    {
        let log = try RaftLog(directory: directory)
        guard !log.isEmpty, log.members.filter(\.isVoter).map(\.id) == [id],
            let (version, present) = newest(inDirectory: directory)
        else { return nil }
        let term = max(present.term, log.lastTerm) + 1
        let next = version + 1
        // libraft writes the odd versions to the first file.
        let name = next.isMultiple(of: 2) ? "metadata2" : "metadata1"
        try DurableFile.write(encode(version: next, term: term, vote: 0), to: "\(directory)/\(name)")
        return term
    }

    static func encode(version: UInt64, term: UInt64, vote: UInt64) -> [UInt8] {
        [format, version, term, vote].flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
    }

    static func decode(_ content: [UInt8]) -> (version: UInt64, metadata: RaftMetadata)? {
        guard content.count == 32 else { return nil }
        return content.withUnsafeBytes { raw in
            func word(_ index: Int) -> UInt64 {
                UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            }
            // Version 0 is what a file of zeros has; libraft counts from 1.
            guard word(0) == format, word(1) > 0 else { return nil }
            return (version: word(1), metadata: RaftMetadata(term: word(2), votedFor: word(3)))
        }
    }
}
