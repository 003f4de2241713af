/// Composes the parts into one running node. Stub: the real one is written beside.
enum Daemon {
    /// Runs a node until it is told to stop.
    ///
    /// - Returns: the exit status of the process.
    static func run(_ settings: StartSettings) async throws -> Int32 {
        0
    }
}
