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
/// A record is 32 bytes, integers little endian:
///
///     0  u8   version, 1
///     1  u8   kind: 1 hold, 2 release, 3 release all, 4 ready, 5 stop
///     2  u8   family: 4 or 6             hold and release only; zero in the others
///     3  u8   prefix length              〃
///     4  u32  interface index            〃
///     8  16   address, network order     〃
///     24 i64  deadline, CLOCK_BOOTTIME nanoseconds; hold only
public enum GuardRecord: Hashable, Sendable {
    /// To the guard: remove this address at the deadline, unless a later record says otherwise. Sent before it is set.
    case hold(GuardedAddress, until: BootInstant)
    /// To the guard: the address is deleted, forget it.
    case release(GuardedAddress)
    /// To the guard: forget all addresses.
    case releaseAll
    /// To the guard: the daemon is up.
    case ready
    /// To the daemon: the operator asked for a stop.
    case stop

    public static let size = 32
    public static let version: UInt8 = 1

    /// Reads a record. Total: nil for everything that `encode` does not make.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.size, bytes[0] == Self.version else { return nil }
        let index = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        let deadline = Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: Int64.self))
        let address = GuardedAddress(
            family: bytes[2], prefixLength: bytes[3], interfaceIndex: index, high: high, low: low)
        let isBare = bytes[2] == 0 && bytes[3] == 0 && index == 0 && high == 0 && low == 0 && deadline == 0
        switch (bytes[1], address) {
        case (1, let address?) where deadline >= 0:
            self = .hold(address, until: BootInstant(nanoseconds: deadline))
        case (2, let address?) where deadline == 0: self = .release(address)
        case (3, nil) where isBare: self = .releaseAll
        case (4, nil) where isBare: self = .ready
        case (5, nil) where isBare: self = .stop
        default: return nil
        }
    }

    /// Writes the record to the first `size` bytes of `bytes`, which must have room for them.
    public func encode(into bytes: UnsafeMutableRawBufferPointer) {
        var kind: UInt8
        var address: GuardedAddress?
        var deadline: Int64 = 0
        switch self {
        case .hold(let held, let until): (kind, address, deadline) = (1, held, max(0, until.nanoseconds))
        case .release(let released): (kind, address) = (2, released)
        case .releaseAll: kind = 3
        case .ready: kind = 4
        case .stop: kind = 5
        }
        bytes[0] = Self.version
        bytes[1] = kind
        bytes[2] = address?.family.rawValue ?? 0
        bytes[3] = address?.prefixLength ?? 0
        bytes.storeBytes(of: (address?.interfaceIndex ?? 0).littleEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: (address?.high ?? 0).bigEndian, toByteOffset: 8, as: UInt64.self)
        bytes.storeBytes(of: (address?.low ?? 0).bigEndian, toByteOffset: 16, as: UInt64.self)
        bytes.storeBytes(of: deadline.littleEndian, toByteOffset: 24, as: Int64.self)
    }
}
