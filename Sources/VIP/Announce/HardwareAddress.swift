/// A MAC: the address of an Ethernet interface.
public struct HardwareAddress: Hashable, Sendable, CustomStringConvertible {
    /// Six bytes.
    public let bytes: [UInt8]

    /// - Returns: nil when there are not six bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        self.bytes = Array(bytes)
    }

    /// As ip(8) writes it: `02:00:5e:10:20:30`.
    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
