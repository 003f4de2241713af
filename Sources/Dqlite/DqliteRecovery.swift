import CDqlite
import Synchronization

/// Writes another list of members into the log of a node that does not run.
///
/// For a cluster whose majority is lost for ever. libdqlite looks at nothing: whoever calls this has seen that the
/// directory is that of this member, is used by nobody, and is whole (`RaftLog`), and keeps the members before from coming
/// back: they know nothing of it, and their log may win against this one.
public enum DqliteRecovery {
    /// Appends the list to the log; blocking, some 100 ms.
    ///
    /// - Parameters:
    ///   - id: of this node; it has to be among `members`.
    ///   - directory: the raft directory.
    /// - Throws: `DqliteError`; the process can create no further node then.
    public static func replaceMembers(
        _ members: [DqliteMember], ofNode id: DqliteNodeID, address: String, directory: String
    ) throws(DqliteError) {
        guard members.contains(where: { $0.id == id && $0.role == .voter }) else {
            throw DqliteError(.misuse, "node \(id) is no voter among the members that are to be")
        }
        try NodeConfigurationCheck.check(.init(id: id, address: address, directory: directory))
        try FailureLatch.check()
        var created: OpaquePointer?
        let rv = NodeHandle.creating.withLock { _ in dqlite_node_create(id, address, directory, &created) }
        guard rv == 0, let node = created else {
            let error = NodeFailure.create(rv, message: "", directory: directory)
            FailureLatch.close(error)
            throw error
        }
        // The library reads the texts during the call only.
        let texts = members.map { Array($0.address.utf8CString) }
        let outcome = withTexts(texts[...], []) { pointers in
            var infos = zip(members, pointers).map { member, text in
                dqlite_node_info_ext(
                    size: UInt64(MemoryLayout<dqlite_node_info_ext>.size), id: member.id,
                    address: UInt64(UInt(bitPattern: text)), dqlite_role: member.role.rawValue)
            }
            return dqlite_node_recover_ext(node, &infos, Int32(infos.count))
        }
        guard outcome == 0 else {
            let text = dqlite_node_errmsg(node).map { String(cString: $0) } ?? ""
            let error = DqliteError(
                .nodeStart,
                "the list of members in \(directory) cannot be replaced: \(NodeFailure.text(outcome, text))",
                rawCode: UInt64(truncatingIfNeeded: outcome))
            FailureLatch.close(error)
            throw error
        }
        dqlite_node_destroy(node)
    }

    /// Calls `body` with pointers to all texts at once.
    private static func withTexts<Result>(
        _ texts: ArraySlice<[CChar]>, _ pointers: [UnsafePointer<CChar>?],
        _ body: ([UnsafePointer<CChar>?]) -> Result
    ) -> Result {
        guard let first = texts.first else { return body(pointers) }
        return first.withUnsafeBufferPointer { withTexts(texts.dropFirst(), pointers + [$0.baseAddress], body) }
    }
}
