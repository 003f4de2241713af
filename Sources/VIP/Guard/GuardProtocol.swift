import Platform

/// An address as the guard keeps it: of fixed size, so that its table never allocates.
public struct GuardedAddress: Hashable, Sendable, CustomStringConvertible {
    public let family: IPAddress.Family
    /// 0...32 for IPv4, 0...128 for IPv6.
    public let prefixLength: UInt8
    /// As the kernel numbers interfaces: 1 and more.
    public let interfaceIndex: UInt32
    /// The 16 bytes of the address in network order, IPv4 in the first four and zeros after.
    fileprivate let high: UInt64
    fileprivate let low: UInt64

    public init(_ address: VirtualAddress, interfaceIndex: UInt32) {
        var bytes = address.address.bytes[...]
        high = Self.take(&bytes)
        low = Self.take(&bytes)
        family = address.address.family
        prefixLength = address.prefixLength
        self.interfaceIndex = interfaceIndex
    }

    fileprivate init?(family: UInt8, prefixLength: UInt8, interfaceIndex: UInt32, high: UInt64, low: UInt64) {
        guard let family = IPAddress.Family(rawValue: family), Int(prefixLength) <= family.bits, interfaceIndex > 0,
            family == .v6 || (low == 0 && high & 0xFFFF_FFFF == 0)
        else { return nil }
        self.family = family
        self.prefixLength = prefixLength
        self.interfaceIndex = interfaceIndex
        self.high = high
        self.low = low
    }

    private static func take(_ bytes: inout ArraySlice<UInt8>) -> UInt64 {
        var word: UInt64 = 0
        for _ in 0..<8 { word = word << 8 | UInt64(bytes.popFirst() ?? 0) }
        return word
    }

    /// The address as the rest of the module knows it; nil when no host could own it. Allocates.
    public var virtualAddress: VirtualAddress? {
        address.flatMap { try? VirtualAddress(address: $0, prefixLength: prefixLength) }
    }

    public var description: String {
        "\(address.map(\.description) ?? "?")/\(prefixLength) on interface \(interfaceIndex)"
    }

    private var address: IPAddress? {
        let all = [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
        return IPAddress(bytes: family == .v4 ? all[..<4] : all[...])
    }
}

/// What the daemon and its guard tell each other, one record in each packet of a SOCK_SEQPACKET pair (unix(7)).
///
/// Which addresses there are is said here; until when they may stay, on the `LeasePage`.
///
/// A record is 32 bytes, integers little endian:
///
///     0  u8   version, 2
///     1  u8   kind: 1 hold, 2 release, 3 release all, 4 ready, 5 stop, 6 look
///     2  u8   family: 4 or 6             hold and release only; zero in the others
///     3  u8   prefix length              〃
///     4  u32  interface index            〃
///     8  16   address, network order     〃
///     24 u16  slot of its lease          hold only
///     26 6    zero
public enum GuardRecord: Hashable, Sendable {
    /// To the guard: remove this address whenever its lease is over. Sent before it is set, each time.
    case hold(GuardedAddress, slot: LeaseSlot)
    /// To the guard: the address is deleted, forget it.
    case release(GuardedAddress)
    /// To the guard: forget all addresses.
    case releaseAll
    /// To the guard: the daemon is up.
    case ready
    /// To the daemon: the operator asked for a stop.
    case stop
    /// To the guard: a lease ends sooner than the page said before; read them all again.
    case look

    public static let size = 32
    public static let version: UInt8 = 2

    /// Reads a record. Total: nil for everything that `encode` does not make.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.size, bytes[0] == Self.version else { return nil }
        let index = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        let last = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
        let address = GuardedAddress(
            family: bytes[2], prefixLength: bytes[3], interfaceIndex: index, high: high, low: low)
        let slot = UInt16(exactly: last).flatMap { LeaseSlot($0) }
        let isBare = bytes[2] == 0 && bytes[3] == 0 && index == 0 && high == 0 && low == 0 && last == 0
        switch (bytes[1], address, slot) {
        case (1, let address?, let slot?): self = .hold(address, slot: slot)
        case (2, let address?, _) where last == 0: self = .release(address)
        case (3, nil, _) where isBare: self = .releaseAll
        case (4, nil, _) where isBare: self = .ready
        case (5, nil, _) where isBare: self = .stop
        case (6, nil, _) where isBare: self = .look
        default: return nil
        }
    }

    /// Writes the record to the first `size` bytes of `bytes`, which must have room for them.
    public func encode(into bytes: UnsafeMutableRawBufferPointer) {
        var kind: UInt8
        var address: GuardedAddress?
        var last: UInt64 = 0
        switch self {
        case .hold(let held, let slot): (kind, address, last) = (1, held, UInt64(slot.number))
        case .release(let released): (kind, address) = (2, released)
        case .releaseAll: kind = 3
        case .ready: kind = 4
        case .stop: kind = 5
        case .look: kind = 6
        }
        bytes[0] = Self.version
        bytes[1] = kind
        bytes[2] = address?.family.rawValue ?? 0
        bytes[3] = address?.prefixLength ?? 0
        bytes.storeBytes(of: (address?.interfaceIndex ?? 0).littleEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: (address?.high ?? 0).bigEndian, toByteOffset: 8, as: UInt64.self)
        bytes.storeBytes(of: (address?.low ?? 0).bigEndian, toByteOffset: 16, as: UInt64.self)
        bytes.storeBytes(of: last.littleEndian, toByteOffset: 24, as: UInt64.self)
    }
}
