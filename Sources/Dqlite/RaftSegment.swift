import CDqlite

/// The content of a segment: a file of libraft with a part of the log.
///
/// A word with the format, 1, then batches back to back: CRC of the batch's header and CRC of its data (u32 each), the header
/// (number of entries, then for each its term, its type in one byte, three unused ones, and the length of its data), the
/// data. An open segment is made 8 MiB long in advance and filled with zeros; a closed one ends with its last batch.
struct RaftSegment {
    static let format: UInt64 = 1

    /// How the reading ended.
    enum End: Hashable {
        /// With the file, or with zeros up to its end.
        case whole
        /// With something that is no whole batch, at this offset. `isFollowed`: whole batches come after it, so it is not the
        /// last thing that was written.
        case broken(offset: Int, reason: String, isFollowed: Bool)
        /// Not read: a format that this program does not know.
        case unknown(format: UInt64)
    }

    /// Of the entries in whole batches from the start on.
    private(set) var count: UInt64 = 0
    private(set) var lastTerm: UInt64?
    /// The configurations among them, each with its place from the start of the segment.
    private(set) var configurations: [(offset: UInt64, members: [RaftConfiguration.Member])] = []
    private(set) var end = End.whole

    init(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { read($0) }
    }

    private mutating func read(_ file: UnsafeRawBufferPointer) {
        let significant = file.baseAddress.map { cdqlite_significant($0, file.count) } ?? 0
        // Made in advance and never written to, or cut off before anything was.
        if significant == 0 { return }
        guard let format = Self.word(file, 0) else {
            end = .broken(offset: 0, reason: "it has \(file.count) bytes only", isFollowed: false)
            return
        }
        guard format == Self.format else {
            // libraft writes the format together with the first batch: where it is missing, more is wrong than a torn end.
            end =
                format == 0 || format > 9
                ? .broken(offset: 0, reason: "it does not begin with its format", isFollowed: true)
                : .unknown(format: format)
            return
        }
        var offset = 8
        while offset < significant {
            switch Self.batch(file, at: offset) {
            case .success(let batch):
                take(batch, file)
                offset = batch.data.upperBound
            case .failure(let fault):
                end = .broken(
                    offset: offset, reason: fault.reason,
                    isFollowed: Self.hasBatch(file, from: offset + 8, to: significant))
                return
            }
        }
    }

    private mutating func take(_ batch: Batch, _ file: UnsafeRawBufferPointer) {
        var position = batch.data.lowerBound
        for entry in batch.entries {
            if entry.kind == 3,
                let configuration = RaftConfiguration(
                    UnsafeRawBufferPointer(rebasing: file[position..<(position + entry.length)]))
            {
                configurations.append((count, configuration.members))
            }
            position += entry.length
            count += 1
            lastTerm = entry.term
        }
    }

    // MARK: Batches

    private struct Batch {
        var entries: [(term: UInt64, kind: UInt8, length: Int)]
        var data: Range<Int>
    }

    private struct Fault: Error {
        var reason: String
    }

    private static func batch(_ file: UnsafeRawBufferPointer, at offset: Int) -> Result<Batch, Fault> {
        func fails(_ reason: String) -> Result<Batch, Fault> { .failure(Fault(reason: reason)) }
        guard let header = header(file, at: offset) else { return fails("the header of a batch is damaged") }
        var entries: [(term: UInt64, kind: UInt8, length: Int)] = []
        var length = 0
        for index in 0..<header.count {
            guard let term = word(file, offset + 16 + 16 * index), let rest = word(file, offset + 24 + 16 * index)
            else { return fails("a batch is cut off") }
            entries.append((term, UInt8(rest & 0xFF), Int(rest >> 32)))
            length += Int(rest >> 32)
        }
        let start = header.end
        guard length <= file.count - start else { return fails("the data of a batch is cut off") }
        let data = UnsafeRawBufferPointer(rebasing: file[start..<(start + length)])
        guard let sum = word(file, offset).map({ UInt32($0 >> 32) }),
            cdqlite_crc32(data.baseAddress, data.count) == sum
        else { return fails("the data of a batch does not match its checksum") }
        return .success(Batch(entries: entries, data: start..<(start + length)))
    }

    /// Number of entries and end of the header of a batch; nil when it does not match its checksum.
    private static func header(_ file: UnsafeRawBufferPointer, at offset: Int) -> (count: Int, end: Int)? {
        guard let sums = word(file, offset), let number = word(file, offset + 8), number > 0,
            number <= UInt64(file.count / 16)
        else { return nil }
        let end = offset + 16 + 16 * Int(number)
        guard end <= file.count else { return nil }
        let header = UnsafeRawBufferPointer(rebasing: file[(offset + 8)..<end])
        guard cdqlite_crc32(header.baseAddress, header.count) == UInt32(truncatingIfNeeded: sums) else { return nil }
        return (Int(number), end)
    }

    /// Whether a whole batch begins anywhere in a range; libraft puts them at multiples of eight.
    private static func hasBatch(_ file: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Bool {
        var offset = start
        while offset < end {
            // No batch of ours has a thousand entries; what comes by chance mostly has.
            if let count = word(file, offset + 8), count > 0, count < 1000, case .success = batch(file, at: offset) {
                return true
            }
            offset += 8
        }
        return false
    }

    private static func word(_ file: UnsafeRawBufferPointer, _ offset: Int) -> UInt64? {
        guard offset >= 0, offset <= file.count - 8 else { return nil }
        return UInt64(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
