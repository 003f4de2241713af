import Platform

/// An ARP packet for IPv4 over Ethernet (RFC 826).
public struct ARPFrame: Equatable, Sendable {
    public enum Operation: UInt16, Sendable {
        case request = 1
        case reply = 2
    }

    public var destination: [UInt8]
    public var operation: Operation
    public var senderHardware: [UInt8]
    public var sender: IPAddress
    public var target: IPAddress

    /// Sender and target are the same address, sent to everybody (RFC 5227 section 3: an announcement).
    public var isGratuitous: Bool { sender == target && destination.allSatisfy { $0 == 0xFF } }

    /// Takes a whole Ethernet frame; nil for anything but ARP for IPv4 over Ethernet. Any bytes are taken.
    public init?(frame: [UInt8]) {
        guard frame.count >= 42, frame[12..<20] == [0x08, 0x06, 0, 1, 0x08, 0, 6, 4],
            let operation = Operation(rawValue: UInt16(frame[20]) << 8 | UInt16(frame[21])),
            let sender = IPAddress(bytes: frame[28..<32]), let target = IPAddress(bytes: frame[38..<42])
        else { return nil }
        destination = Array(frame[0..<6])
        self.operation = operation
        senderHardware = Array(frame[22..<28])
        self.sender = sender
        self.target = target
    }

    /// The answer to a probe, as a whole Ethernet frame: `address` is at `hardware`.
    static func reply(that address: IPAddress, isAt hardware: [UInt8], to asker: [UInt8]) -> [UInt8] {
        let fixed: [UInt8] = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, UInt8(Operation.reply.rawValue)]
        return asker + hardware + fixed + hardware + address.bytes + asker + [0, 0, 0, 0]
    }

    /// An announcement of `address` at `hardware`, as a whole Ethernet broadcast frame.
    public static func announcement(of address: IPAddress, at hardware: [UInt8], _ operation: Operation) -> [UInt8] {
        let broadcast = [UInt8](repeating: 0xFF, count: 6)
        let fixed: [UInt8] = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, UInt8(operation.rawValue)]
        let targetHardware = operation == .request ? [UInt8](repeating: 0, count: 6) : broadcast
        return broadcast + hardware + fixed + hardware + address.bytes + targetHardware + address.bytes
    }
}
