import CLinux
import Platform

/// An Ethernet frame with an ARP packet for IPv4: RFC 826.
public struct ARPFrame: Hashable, Sendable {
    public enum Operation: UInt16, Hashable, Sendable, CaseIterable {
        case request = 1
        case reply = 2
    }

    /// ff:ff:ff:ff:ff:ff
    public static let broadcast = [UInt8](repeating: 0xFF, count: 6)
    /// Bytes of a frame without the padding that the network card adds.
    public static let length = 42

    /// Ethernet addresses of the frame, 6 bytes each.
    public let destination: [UInt8]
    public let source: [UInt8]
    public let operation: Operation
    /// Sender hardware and protocol address (ar$sha, ar$spa).
    public let senderHardwareAddress: [UInt8]
    public let senderAddress: IPAddress
    /// Target hardware and protocol address (ar$tha, ar$tpa).
    public let targetHardwareAddress: [UInt8]
    public let targetAddress: IPAddress

    /// A gratuitous ARP: it tells every host of the link that `address` is at `hardwareAddress`.
    ///
    /// The request form is the ARP announcement of RFC 5227 section 2.3: sender and target address are the address, the
    /// target hardware address is zero. The reply form is for caches that only take replies: its target hardware address
    /// is the sender's, as RFC 5944 section 4.6 demands of a gratuitous ARP reply.
    ///
    /// - Returns: nil when `address` is no IPv4 address or `hardwareAddress` no 6 bytes.
    public init?(announcing address: IPAddress, at hardwareAddress: [UInt8], as operation: Operation) {
        guard address.family == .v4, hardwareAddress.count == 6 else { return nil }
        destination = Self.broadcast
        source = hardwareAddress
        self.operation = operation
        senderHardwareAddress = hardwareAddress
        senderAddress = address
        targetHardwareAddress = operation == .request ? [UInt8](repeating: 0, count: 6) : hardwareAddress
        targetAddress = address
    }

    /// A reply that nobody asked for, to one host: it takes it also where it ignores gratuitous ARP, or where switches or access
    /// points keep broadcasts from it.
    ///
    /// - Returns: nil when an address is no IPv4 address or `hardwareAddress`, the sender's, no 6 bytes.
    public init?(announcing address: IPAddress, at hardwareAddress: [UInt8], to neighbour: Neighbour) {
        guard address.family == .v4, neighbour.address.family == .v4, hardwareAddress.count == 6,
            let target = neighbour.hardwareAddress
        else { return nil }
        destination = target.bytes
        source = hardwareAddress
        operation = .reply
        senderHardwareAddress = hardwareAddress
        senderAddress = address
        targetHardwareAddress = target.bytes
        targetAddress = neighbour.address
    }

    /// An ARP probe (RFC 5227 section 1.1): it asks who has `address`, and puts nothing into any cache.
    ///
    /// - Returns: nil when `address` is no IPv4 address or `hardwareAddress`, the asker's, no 6 bytes.
    public init?(probing address: IPAddress, from hardwareAddress: [UInt8]) {
        guard address.family == .v4, hardwareAddress.count == 6, let nobody = IPAddress(bytes: [0, 0, 0, 0]) else {
            return nil
        }
        destination = Self.broadcast
        source = hardwareAddress
        operation = .request
        senderHardwareAddress = hardwareAddress
        senderAddress = nobody
        targetHardwareAddress = [UInt8](repeating: 0, count: 6)
        targetAddress = address
    }

    /// Decodes a frame as a packet socket delivers it; nil when it is no ARP for IPv4 over Ethernet. Padding is ignored.
    public init?(decoding frame: some Collection<UInt8>) {
        let bytes = Array(frame.prefix(Self.length))
        guard bytes.count == Self.length, bytes[12..<20].elementsEqual(Self.types), bytes[20] == 0,
            let operation = Operation(rawValue: UInt16(bytes[21])),
            let senderAddress = IPAddress(bytes: bytes[28..<32]), let targetAddress = IPAddress(bytes: bytes[38..<42])
        else { return nil }
        destination = Array(bytes[0..<6])
        source = Array(bytes[6..<12])
        self.operation = operation
        senderHardwareAddress = Array(bytes[22..<28])
        self.senderAddress = senderAddress
        targetHardwareAddress = Array(bytes[32..<38])
        self.targetAddress = targetAddress
    }

    /// Whether it is about its sender's own address: the form of every announcement.
    public var isGratuitous: Bool { senderAddress == targetAddress }

    /// The 42 bytes of the frame.
    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.length)
        bytes += destination
        bytes += source
        bytes += Self.types
        bytes += [0, UInt8(operation.rawValue)]
        bytes += senderHardwareAddress
        bytes += senderAddress.bytes
        bytes += targetHardwareAddress
        bytes += targetAddress.bytes
        return bytes
    }

    /// Ethernet type ARP; hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
    private static let types: [UInt8] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4]
}
