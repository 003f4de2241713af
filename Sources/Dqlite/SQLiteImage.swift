/// A database as dqlite dumps it: a file and its write-ahead log (https://www.sqlite.org/fileformat2.html).
public enum SQLiteImage {
    /// Makes one file of the two, as a checkpoint would: one that any SQLite opens, also where it must not write.
    ///
    /// - Throws: `DqliteError` `.protocolViolation` when they are no database.
    public static func merge(database: [UInt8], log: [UInt8]) throws(DqliteError) -> [UInt8] {
        var image = database
        if log.count > 32 { try apply(log, to: &image) }
        guard image.count >= 512, image.starts(with: Array("SQLite format 3\0".utf8)) else {
            throw DqliteError(.protocolViolation, "the dump holds no database: has anything been written to it yet?")
        }
        // How to read and to write it: 2 means with a write-ahead log, 1 without.
        image[18] = 1
        image[19] = 1
        return image
    }

    private static func apply(_ log: [UInt8], to image: inout [UInt8]) throws(DqliteError) {
        func number(_ offset: Int) -> Int {
            log[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) }
        }
        guard number(0) & ~1 == 0x377F_0682 else {
            throw DqliteError(.protocolViolation, "the write-ahead log in the dump has no header")
        }
        let pageSize = number(8)
        guard pageSize >= 512, pageSize <= 65536, pageSize & (pageSize - 1) == 0 else {
            throw DqliteError(.protocolViolation, "the write-ahead log in the dump has pages of \(pageSize) bytes")
        }
        let salt = log[16..<24]
        var pages: [Int: Range<Int>] = [:]
        var pending: [Int: Range<Int>] = [:]
        var size: Int?
        var offset = 32
        // Frames of an earlier round through the log have another salt; what is behind the last commit never happened.
        while offset + 24 + pageSize <= log.count, log[(offset + 8)..<(offset + 16)] == salt {
            let page = number(offset)
            guard page > 0, page <= log.count / pageSize + image.count / pageSize + 1 else {
                throw DqliteError(.protocolViolation, "the write-ahead log in the dump names page \(page)")
            }
            pending[page] = (offset + 24)..<(offset + 24 + pageSize)
            let committed = number(offset + 4)
            if committed > 0 {
                pages.merge(pending) { $1 }
                pending = [:]
                size = committed
            }
            offset += 24 + pageSize
        }
        guard let size else { return }
        guard size <= log.count / pageSize + image.count / pageSize + 1 else {
            throw DqliteError(.protocolViolation, "the write-ahead log in the dump makes \(size) pages of the database")
        }
        if image.count < size * pageSize {
            image += [UInt8](repeating: 0, count: size * pageSize - image.count)
        }
        image.removeLast(image.count - size * pageSize)
        for (page, range) in pages where page <= size {
            let start = (page - 1) * pageSize
            image.replaceSubrange(start..<(start + pageSize), with: log[range])
        }
    }
}
