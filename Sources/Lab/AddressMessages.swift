import Platform

/// An address that came to an interface or went from it.
public struct AddressChange: Equatable, Sendable {
    public var address: IPAddress
    /// Bits of the prefix, 0...32 or 0...128.
    public var prefixLength: UInt8
    public var interface: UInt32
    public var isPresent: Bool
    /// Remaining valid lifetime in seconds, 4294967295 for ever; nil when the message carries none.
    public var validLifetime: UInt32?
    /// IFA_PROTO: who set it; nil when the message carries none.
    public var tag: UInt8?
}

/// Reads rtnetlink's address messages: just enough for a witness, and on purpose not the product's own decoder.
enum AddressMessages {
    // linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
    private static let newAddress: UInt16 = 20
    private static let deletedAddress: UInt16 = 21
    private static let headerLength = 16
    private static let addressHeaderLength = 8
    private static let local: UInt16 = 2
    private static let address: UInt16 = 1
    private static let cacheInformation: UInt16 = 6
    private static let protocolTag: UInt16 = 11
    private static let inet: UInt8 = 2
    private static let inet6: UInt8 = 10
    private static let duplicateFlag: UInt8 = 0x08

    /// Decodes every whole message; what is malformed or of another type is left out. Any bytes are taken.
    static func decode(_ bytes: [UInt8]) -> [AddressChange] {
        var changes: [AddressChange] = []
        var offset = 0
        while offset + headerLength <= bytes.count {
            let length = Int(bytes.word32(at: offset))
            guard length >= headerLength, offset + length <= bytes.count else { break }
            let type = bytes.word16(at: offset + 4)
            if type == newAddress || type == deletedAddress,
                let change = change(bytes[(offset + headerLength)..<(offset + length)], isPresent: type == newAddress)
            {
                changes.append(change)
            }
            offset += (length + 3) & ~3
        }
        return changes
    }

    /// The request that sets an address for ever, tagged: what `ip address replace` does, and Debian 12's cannot tag.
    static func replacement(
        _ address: IPAddress, prefixLength: UInt8, interface: UInt32, tag: UInt8
    ) -> [UInt8] {
        func word(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
            let padding = [UInt8](repeating: 0, count: -value.count & 3)
            return [UInt8(value.count + 4), 0, UInt8(type), 0] + value + padding
        }
        let forEver = UInt32.max
        let body =
            [inet, prefixLength, 0, 0] + word(interface) + attribute(local, address.bytes)
            + attribute(Self.address, address.bytes) + attribute(protocolTag, [tag])
            + attribute(cacheInformation, word(0) + word(forEver) + word(0) + word(0))
        // NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE
        let flags: UInt16 = 0x1 | 0x4 | 0x100 | 0x400
        return word(UInt32(headerLength + body.count)) + [UInt8(newAddress), 0, UInt8(flags & 0xFF), UInt8(flags >> 8)]
            + word(1) + word(0) + body
    }

    /// The error number of an acknowledgement, 0 for success; nil for any other message.
    static func acknowledgement(_ bytes: [UInt8]) -> Int32? {
        let errorType: UInt16 = 2
        guard bytes.count >= headerLength + 4, bytes.word16(at: 4) == errorType else { return nil }
        return -Int32(bitPattern: bytes.word32(at: headerLength))
    }

    private static func change(_ slice: ArraySlice<UInt8>, isPresent: Bool) -> AddressChange? {
        let body = Array(slice)
        guard body.count >= addressHeaderLength, body[0] == inet || body[0] == inet6 else { return nil }
        var found: IPAddress?
        var fallback: IPAddress?
        var lifetime: UInt32?
        var tag: UInt8?
        var offset = addressHeaderLength
        while offset + 4 <= body.count {
            let length = Int(body.word16(at: offset))
            guard length >= 4, offset + length <= body.count else { break }
            let value = body[(offset + 4)..<(offset + length)]
            switch body.word16(at: offset + 2) {
            case local: found = IPAddress(bytes: value)
            case address: fallback = IPAddress(bytes: value)
            case cacheInformation where value.count >= 8: lifetime = body.word32(at: offset + 8)
            case protocolTag where value.count == 1: tag = value.first
            default: break
            }
            offset += (length + 3) & ~3
        }
        guard let address = found ?? fallback else { return nil }
        return AddressChange(
            address: address, prefixLength: body[1], interface: body.word32(at: 4),
            // IPv6: an address that another host has stays on the list and is not used.
            isPresent: isPresent && !(body[0] == inet6 && body[2] & duplicateFlag != 0),
            validLifetime: lifetime, tag: tag)
    }
}

extension [UInt8] {
    /// Two bytes in the host's order (all supported hosts are little endian).
    func word16(at offset: Int) -> UInt16 {
        UInt16(self[offset]) | UInt16(self[offset + 1]) << 8
    }

    func word32(at offset: Int) -> UInt32 {
        UInt32(word16(at: offset)) | UInt32(word16(at: offset + 2)) << 16
    }
}
