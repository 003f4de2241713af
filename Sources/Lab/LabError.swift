/// A step of the laboratory that did not go as it must: what was tried, and what was seen instead.
public struct LabError: Error, Equatable, Sendable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) {
        self.description = description
    }
}
