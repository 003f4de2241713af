import Dqlite
import NIOPosix

extension ClusterNode {
    /// The replicated database of this node as one SQLite file: what this node has, which a moment's lag may keep behind the
    /// leader's.
    ///
    /// - Throws: `Unavailable`.
    public func databaseFile() async throws -> [UInt8] {
        guard facts.current.isFormed, let socket = facts.current.local?.socket else {
            throw Unavailable(description: "this node has not found its cluster yet: ask another node")
        }
        do {
            let client = try await DqliteClient.connect(
                to: socket, on: MultiThreadedEventLoopGroup.singleton, timeout: .seconds(5))
            let files: [WireResponse.File]
            do {
                files = try await client.dump(Schema.database)
            } catch {
                await client.close()
                throw error
            }
            await client.close()
            return try SQLiteImage.merge(
                database: files.first { $0.name == Schema.database }?.content ?? [],
                log: files.first { $0.name == Schema.database + "-wal" }?.content ?? [])
        } catch {
            throw Unavailable(
                description: "the database of this node cannot be read: \(error); a spare has none: ask another node")
        }
    }
}
