/// A file of a directory that is held open; see `OpenDirectory`.
public struct StoredFile: Sendable {
    public let directory: OpenDirectory
    public let name: String

    public init(_ name: String, in directory: OpenDirectory) {
        self.directory = directory
        self.name = name
    }

    /// For messages.
    public var path: String { directory.pathOf(name) }

    /// The content; nil when there is no such file.
    ///
    /// - Throws: what `OpenDirectory.read` does.
    public func read(limit: Int = 1 << 20) throws(SystemError) -> [UInt8]? { try directory.read(name, limit: limit) }

    /// Replaces it durably.
    ///
    /// - Throws: what `OpenDirectory.write` does.
    public func write(_ bytes: [UInt8]) throws(SystemError) { try directory.write(bytes, to: name) }
}
