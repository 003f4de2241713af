/// Reads the wire format of RFC 1035 sections 3 and 4 from any bytes.
struct DNSReader {
    let bytes: [UInt8]
    /// Where the next read begins.
    private(set) var offset = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Reads the same bytes from another place: names within data point to the whole message.
    init(_ reader: DNSReader, at offset: Int) {
        bytes = reader.bytes
        self.offset = offset
    }

    mutating func uint8() throws(DNSFault) -> UInt8 {
        guard offset < bytes.count else { throw .short }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func uint16() throws(DNSFault) -> UInt16 {
        let high = try uint8()
        return UInt16(high) << 8 | UInt16(try uint8())
    }

    mutating func uint32() throws(DNSFault) -> UInt32 {
        let high = try uint16()
        return UInt32(high) << 16 | UInt32(try uint16())
    }

    mutating func slice(_ count: Int) throws(DNSFault) -> ArraySlice<UInt8> {
        guard count <= bytes.count - offset else { throw .short }
        defer { offset += count }
        return bytes[offset..<offset + count]
    }

    /// A name, compressed or not (RFC 1035 section 4.1.4).
    ///
    /// Each pointer must point before the part that it ends: that is what "prior" means in the RFC, and it rules out loops.
    mutating func name() throws(DNSFault) -> DNSName {
        var labels: [ArraySlice<UInt8>] = []
        var length = 1
        var partStart = offset
        var position = offset
        var end: Int?
        while true {
            guard position < bytes.count else { throw .short }
            let count = Int(bytes[position])
            switch count {
            case 0:
                offset = end ?? position + 1
                return DNSName(labels: labels)
            case 1...DNSName.longestLabel:
                let start = position + 1
                guard count <= bytes.count - start else { throw .short }
                length += count + 1
                guard length <= DNSName.longest else { throw .longName }
                labels.append(bytes[start..<start + count])
                position = start + count
            case 0xC0...:
                guard position + 1 < bytes.count else { throw .short }
                let target = (count & 0x3F) << 8 | Int(bytes[position + 1])
                if end == nil { end = position + 2 }
                guard target < partStart else { throw .pointer }
                partStart = target
                position = target
            default:
                throw .labelType(UInt8(count))
            }
        }
    }
}

/// What is wrong with a DNS message.
package enum DNSFault: Error, Hashable, CustomStringConvertible {
    /// It ends within a field.
    case short
    /// A name of more than 255 bytes.
    case longName
    /// A compressed name that does not point backwards.
    case pointer
    /// A label that is neither text nor pointer (RFC 6891 section 5).
    case labelType(UInt8)
    /// Data of a record that have not the length of their type.
    case dataLength(type: UInt16, Int)
    /// More aliases follow one another than any zone has, or in a circle.
    case aliases

    package var description: String {
        switch self {
        case .short: "it ends too early"
        case .longName: "a name is longer than 255 bytes"
        case .pointer: "a compressed name does not point backwards"
        case .labelType(let type): "a label has the unknown type \(type >> 6)"
        case .dataLength(let type, let count): "a record of type \(type) has \(count) bytes of data"
        case .aliases: "its aliases lead nowhere: more than \(DNSMessage.longestChain) follow one another"
        }
    }
}
