/// Makes DNS messages byte by byte, wrong ones too.
struct MessageBuilder {
    /// QR, AA, RD, RA: the answer of a server that has the zone and asks others, too.
    static let usualFlags: UInt16 = 0x8580
    static let truncated: UInt16 = 0x0200
    static let authoritative: UInt16 = 0x0400
    static let offersRecursion: UInt16 = 0x0080

    var bytes: [UInt8] = []

    /// `counts`: questions, answers, authorities, additional.
    init(flags: UInt16 = usualFlags, code: UInt16 = 0, counts: (UInt16, UInt16, UInt16, UInt16)) {
        add(0x1234, flags | code, counts.0, counts.1, counts.2, counts.3)
    }

    mutating func add(_ values: UInt16...) {
        for value in values { bytes += [UInt8(value >> 8), UInt8(value & 0xFF)] }
    }

    static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func pointer(to offset: Int) -> [UInt8] { [0xC0 | UInt8(offset >> 8), UInt8(offset & 0xFF)] }

    mutating func question(_ name: String, type: UInt16) {
        bytes += Self.name(name)
        add(type, 1)
    }

    mutating func record(
        _ name: [UInt8], type: UInt16, class recordClass: UInt16 = 1, ttl: UInt32 = 60, _ data: [UInt8]
    ) {
        bytes += name
        add(type, recordClass, UInt16(ttl >> 16), UInt16(ttl & 0xFFFF), UInt16(data.count))
        bytes += data
    }

    mutating func record(_ name: String, type: UInt16, ttl: UInt32 = 60, _ data: [UInt8]) {
        record(Self.name(name), type: type, ttl: ttl, data)
    }

    static func service(_ priority: UInt16, _ weight: UInt16, _ port: UInt16, _ target: [UInt8]) -> [UInt8] {
        [priority, weight, port].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } + target
    }

    /// An answer with one question and records that need no compression.
    static func answer(
        _ name: String, type: UInt16, flags: UInt16 = usualFlags, code: UInt16 = 0,
        _ answers: [(String, UInt16, [UInt8])] = [], additional: [(String, UInt16, [UInt8])] = []
    ) -> [UInt8] {
        var message = MessageBuilder(
            flags: flags, code: code, counts: (1, UInt16(answers.count), 0, UInt16(additional.count)))
        message.question(name, type: type)
        for (name, type, data) in answers + additional { message.record(name, type: type, data) }
        return message.bytes
    }
}
