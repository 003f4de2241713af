/// Builds one netlink message: header, fixed part, attributes. Netlink is in host byte order (netlink(7)).
struct NetlinkWriter {
    private(set) var bytes: [UInt8] = []

    /// Begins with the header of `struct nlmsghdr`; the length is filled in by `finish`.
    init(type: UInt16, flags: UInt16, sequence: UInt32) {
        bytes.reserveCapacity(96)
        put(UInt32(0))
        put(type)
        put(flags)
        put(sequence)
        // The port: 0 lets the kernel fill in the one of the socket.
        put(UInt32(0))
    }

    mutating func put(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    /// Appends a `struct rtattr` with its value, padded to four bytes (rtnetlink(7)).
    mutating func attribute(_ type: UInt16, _ value: some Collection<UInt8>) {
        put(UInt16(4 + value.count))
        put(type)
        bytes.append(contentsOf: value)
        bytes.append(contentsOf: repeatElement(0, count: -value.count & 3))
    }

    mutating func attribute(_ type: UInt16, integer value: some FixedWidthInteger) {
        attribute(type, withUnsafeBytes(of: value) { Array($0) })
    }

    /// The whole message, with its length set.
    consuming func finish() -> [UInt8] {
        withUnsafeBytes(of: UInt32(bytes.count)) { length in
            for (position, byte) in length.enumerated() { bytes[position] = byte }
        }
        return bytes
    }
}

/// Reads integers and attributes out of bytes that may be anything.
struct NetlinkReader {
    let bytes: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
    }

    var count: Int { bytes.count }

    /// The integer at `offset`; nil when the bytes end before it does.
    func integer<T: FixedWidthInteger>(at offset: Int, as type: T.Type = T.self) -> T? {
        guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
    }

    /// The bytes from `offset` on; empty when there are none.
    func from(_ offset: Int) -> ArraySlice<UInt8> { bytes.dropFirst(max(offset, 0)) }

    /// The attributes from `offset` on, by type; the last of a type wins, as in the kernel. nil when one overruns the end.
    func attributes(from offset: Int) -> [UInt16: ArraySlice<UInt8>]? {
        var found: [UInt16: ArraySlice<UInt8>] = [:]
        var rest = NetlinkReader(from(offset))
        while rest.count >= 4, let length: UInt16 = rest.integer(at: 0), let type: UInt16 = rest.integer(at: 2) {
            guard length >= 4, Int(length) <= rest.count else { return nil }
            // The two upper bits say "nested" and "in network byte order"; they are no part of the type.
            found[type & 0x3FFF] = rest.bytes.prefix(Int(length)).dropFirst(4)
            rest = NetlinkReader(rest.from((Int(length) + 3) & ~3))
        }
        return rest.count == 0 ? found : nil
    }
}
