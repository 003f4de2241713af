package import Platform

/// An answer of a name server (RFC 1035 section 4), as far as discovery needs it.
///
/// Made from any bytes: what cannot be understood is a `DNSFault`, and the work is bounded by the length.
package struct DNSMessage: Hashable, Sendable {
    package var code: DNSCode
    /// AA: the server has the zone itself.
    package var isAuthoritative: Bool
    /// TC: there was more than the answer had room for.
    package var isTruncated: Bool
    /// RA: the server asks others, too.
    package var offersRecursion: Bool
    /// Of these types only: A, AAAA, CNAME, SRV, all of class IN.
    package var answers: [DNSRecord] = []
    package var additional: [DNSRecord] = []

    /// How many aliases in a row are followed.
    static let longestChain = 16

    private static let classIN: UInt16 = 1
    private static let typeOPT: UInt16 = 41

    /// A truncated message ends at any byte, so it has the records that are whole.
    package init(_ bytes: [UInt8]) throws(DNSFault) {
        var reader = DNSReader(bytes)
        _ = try reader.uint16()
        let flags = try reader.uint16()
        isAuthoritative = flags & 0x0400 != 0
        isTruncated = flags & 0x0200 != 0
        offersRecursion = flags & 0x0080 != 0
        code = DNSCode(rawValue: flags & 0xF)
        let questionCount = try reader.uint16()
        let counts = (try reader.uint16(), try reader.uint16(), try reader.uint16())
        do throws(DNSFault) {
            for _ in 0..<questionCount {
                _ = try reader.name()
                _ = try reader.uint32()
            }
            for _ in 0..<counts.0 { if let record = try readRecord(&reader) { answers.append(record) } }
            for _ in 0..<counts.1 { _ = try readRecord(&reader) }
            for _ in 0..<counts.2 { if let record = try readRecord(&reader) { additional.append(record) } }
        } catch {
            if !isTruncated { throw error }
        }
    }

    /// nil for types and classes that nobody asks for.
    private mutating func readRecord(_ reader: inout DNSReader) throws(DNSFault) -> DNSRecord? {
        let name = try reader.name()
        let type = try reader.uint16()
        let recordClass = try reader.uint16()
        var ttl = try reader.uint32()
        let length = Int(try reader.uint16())
        let start = reader.offset
        let data = try reader.slice(length)
        if type == Self.typeOPT {
            // RFC 6891 section 6.1.3: the upper bits of the RCODE.
            code = DNSCode(rawValue: code.rawValue & 0xF | UInt16(ttl >> 24) << 4)
            return nil
        }
        guard recordClass == Self.classIN, let known = DNSRecordType(rawValue: type) else { return nil }
        // RFC 2181 section 8: the highest bit makes it 0.
        if ttl > Int32.max { ttl = 0 }
        var inner = DNSReader(reader, at: start)
        let content: DNSRecord.Content
        switch known {
        case .a, .aaaa:
            guard let address = IPAddress(bytes: data), known == .a ? length == 4 : length == 16 else {
                throw .dataLength(type: type, length)
            }
            return DNSRecord(name: name, ttl: ttl, content: .address(address))
        case .cname:
            content = .alias(try inner.name())
        case .srv:
            guard length > 6 else { throw .dataLength(type: type, length) }
            content = .service(
                DNSService(
                    priority: try inner.uint16(), weight: try inner.uint16(), port: try inner.uint16(),
                    target: try inner.name()))
        }
        guard inner.offset == start + length else { throw .dataLength(type: type, length) }
        return DNSRecord(name: name, ttl: ttl, content: content)
    }
}

extension DNSMessage {
    /// What the answer section says about a name, its aliases followed (RFC 1034 section 3.6.2).
    ///
    /// `canonicalName`: the end of the aliases. No records: there are none of this type.
    package func resolve(
        _ name: DNSName, _ type: DNSRecordType
    ) throws(DNSFault) -> (records: [DNSRecord], canonicalName: DNSName, ttl: UInt32) {
        var name = name
        var ttl = UInt32.max
        for _ in 0...Self.longestChain {
            let records = answers.filter { $0.name == name && $0.type == type }
            if !records.isEmpty { return (records, name, records.reduce(ttl) { min($0, $1.ttl) }) }
            guard let alias = answers.first(where: { $0.name == name && $0.type == .cname }),
                case .alias(let target) = alias.content
            else { return ([], name, ttl) }
            ttl = min(ttl, alias.ttl)
            name = target
        }
        throw .aliases
    }

    /// The addresses that came along with an answer, by name.
    package var additionalAddresses: [DNSName: [DNSRecord]] {
        Dictionary(grouping: additional.filter { $0.address != nil }, by: \.name)
    }
}

/// The types of records that discovery asks for or follows; see RFC 1035 section 3.2.2, RFC 3596, RFC 2782.
package enum DNSRecordType: UInt16, Sendable, CustomStringConvertible {
    case a = 1
    case cname = 5
    case aaaa = 28
    case srv = 33

    package var description: String {
        switch self {
        case .a: "A"
        case .cname: "CNAME"
        case .aaaa: "AAAA"
        case .srv: "SRV"
        }
    }
}

package struct DNSRecord: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        case address(IPAddress)
        case alias(DNSName)
        case service(DNSService)
    }

    package var name: DNSName
    /// Seconds.
    package var ttl: UInt32
    package var content: Content

    package var type: DNSRecordType {
        switch content {
        case .address(let address): address.family == .v4 ? .a : .aaaa
        case .alias: .cname
        case .service: .srv
        }
    }

    package var address: IPAddress? {
        if case .address(let address) = content { address } else { nil }
    }

    package var service: DNSService? {
        if case .service(let service) = content { service } else { nil }
    }
}

/// What an SRV record says (RFC 2782).
package struct DNSService: Hashable, Sendable {
    package var priority: UInt16
    package var weight: UInt16
    package var port: UInt16
    /// The root: the service is decidedly not available.
    package var target: DNSName
}

/// The RCODE of an answer (RFC 1035 section 4.1.1, RFC 6895 section 2.3).
package struct DNSCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package var rawValue: UInt16

    package init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    static let noError = DNSCode(rawValue: 0)
    static let formatError = DNSCode(rawValue: 1)
    static let serverFailure = DNSCode(rawValue: 2)
    static let nameError = DNSCode(rawValue: 3)
    static let notImplemented = DNSCode(rawValue: 4)
    static let refused = DNSCode(rawValue: 5)
    static let badVersion = DNSCode(rawValue: 16)

    package var description: String {
        switch self {
        case .noError: "NOERROR"
        case .formatError: "FORMERR"
        case .serverFailure: "SERVFAIL"
        case .nameError: "NXDOMAIN"
        case .notImplemented: "NOTIMP"
        case .refused: "REFUSED"
        case .badVersion: "BADVERS"
        default: "RCODE \(rawValue)"
        }
    }
}
