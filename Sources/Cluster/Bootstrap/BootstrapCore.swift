import Platform

/// skeleton
public struct BootstrapCore: Sendable {
    public private(set) var record: NodeRecord

    /// Why a node must not be started.
    public struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
        public var description: String
    }

    /// - Parameters:
    ///   - record: what `DataDirectory.loadRecord` gave.
    ///   - raftIsEmpty: what `DataDirectory.raftIsEmpty` gave.
    /// - Throws: `Refusal` when there is raft data and no record.
    public init(
        options: BootstrapOptions, record: NodeRecord?, raftIsEmpty: Bool, random: BootstrapRandom = BootstrapRandom()
    ) throws(Refusal) {
        var random = random
        self.record =
            record
            ?? NodeRecord(
                nodeID: NodeID(using: &random), dqliteID: DqliteID.random(using: &random), address: options.address,
                clusterName: options.clusterName)
    }

    /// Takes in one event and says what to do now.
    public mutating func step(_ event: BootstrapEvent, now: BootInstant) -> [BootstrapDirective] {
        []
    }
}
