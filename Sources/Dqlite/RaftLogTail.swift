import CDqlite
import Glibc
import Platform

/// How far the log of a node that runs is on disk, looked at again and again: each look reads only what is new.
///
/// An open segment is 8 MiB long, and to read it whole for one number would be most of what a node costs under writes.
public struct RaftLogTail: Sendable {
    /// Up to the last batch but one: the last was perhaps not whole yet, and is looked at again.
    private struct Place: Hashable {
        var file: ino_t
        var name: String
        var offset: Int
        var count: UInt64
    }

    private struct Batch {
        var entries: UInt64
        var checksum: UInt32
        var data: Range<Int>
    }

    /// More than any batch of ours has; what says more is no batch.
    private static let mostEntries: UInt64 = 4096
    private static let mostBytes = 64 << 20

    private var place: Place?

    public init() {}

    /// The index of the last entry on disk, from the names of closed segments and the content of open ones.
    ///
    /// - Parameter directory: always the same one, of the same node.
    /// - Throws: `SystemError`; a file that libraft has renamed or removed in that moment is one.
    public mutating func lastIndex(inDirectory directory: String) throws(SystemError) -> UInt64 {
        let names = RaftFileNames(try Directory.names(directory) ?? [])
        var last = names.closed.last?.last ?? 0
        last = max(last, names.snapshots.last?.index ?? 0)
        for open in names.open {
            // Two of three are made in advance and hold nothing yet; libraft writes them in their order.
            guard let count = try entries(of: open.name, in: directory), count > 0 else { break }
            last += count
        }
        return last
    }

    /// The number of entries in whole batches; nil when nothing was written there yet.
    private mutating func entries(of name: String, in directory: String) throws(SystemError) -> UInt64? {
        let path = "\(directory)/\(name)"
        let descriptor = try retryingOnInterrupt("read", path) { open(path, O_RDONLY | O_CLOEXEC) }
        defer { close(descriptor) }
        guard try Self.read(descriptor, path, at: 0, count: 8).word(0) == RaftSegment.format else { return nil }
        var status = stat()
        try retryingOnInterrupt("look at", path) { fstat(descriptor, &status) }
        var current = Place(file: status.st_ino, name: name, offset: 8, count: 0)
        if let place, place.file == current.file, place.name == name { current = place }
        var latest: Batch?
        while let batch = try Self.batch(descriptor, path, at: latest?.data.upperBound ?? current.offset) {
            if let latest {
                current.offset = latest.data.upperBound
                current.count += latest.entries
            }
            latest = batch
        }
        place = current
        guard let latest else { return current.count }
        let data = try Self.read(descriptor, path, at: latest.data.lowerBound, count: latest.data.count)
        let isWhole = data.count == latest.data.count && data.checksum(0..<data.count) == latest.checksum
        return isWhole ? current.count + latest.entries : current.count
    }

    /// nil where no header of a batch is.
    private static func batch(_ descriptor: Int32, _ path: String, at offset: Int) throws(SystemError) -> Batch? {
        var bytes = try read(descriptor, path, at: offset, count: 256)
        guard let sums = bytes.word(0), let number = bytes.word(8), 1...mostEntries ~= number else { return nil }
        let length = 16 + 16 * Int(number)
        if length > bytes.count { bytes = try read(descriptor, path, at: offset, count: length) }
        guard length <= bytes.count, bytes.checksum(8..<length) == UInt32(truncatingIfNeeded: sums) else { return nil }
        var size = 0
        for index in 0..<Int(number) { size += Int((bytes.word(24 + 16 * index) ?? 0) >> 32) }
        guard size <= mostBytes else { return nil }
        let start = offset + length
        return Batch(entries: number, checksum: UInt32(sums >> 32), data: start..<(start + size))
    }

    private static func read(
        _ descriptor: Int32, _ path: String, at offset: Int, count: Int
    ) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = try retryingOnInterrupt("read", path) {
            bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
        }
        return Array(bytes.prefix(got))
    }
}

extension [UInt8] {
    fileprivate func word(_ offset: Int) -> UInt64? {
        guard offset + 8 <= count else { return nil }
        return withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    }

    fileprivate func checksum(_ range: Range<Int>) -> UInt32 {
        withUnsafeBytes { all in
            let part = UnsafeRawBufferPointer(rebasing: all[range])
            return cdqlite_crc32(part.baseAddress, part.count)
        }
    }
}
