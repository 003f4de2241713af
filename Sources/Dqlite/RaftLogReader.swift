import CDqlite
import Glibc
import Platform

/// Reads a raft directory as libraft would, and notes what it stumbles over.
struct RaftLogReader {
    private let directory: String
    private let names: RaftFileNames
    private(set) var log = RaftLog()
    /// Of the log as it is read: the next entry has this index.
    private var next: UInt64 = 1

    init(directory: String, names: [String]) {
        self.directory = directory
        self.names = RaftFileNames(names)
    }

    mutating func read() throws(SystemError) {
        let hasData = !(names.closed.isEmpty && names.open.isEmpty && names.snapshots.isEmpty && names.corrupt.isEmpty)
        if names.metadata.isEmpty && !hasData {
            log.isEmpty = true
            return
        }
        for name in names.corrupt {
            fault(name, "was put aside as damaged by an earlier start: what it held is missing from the log")
        }
        try readMetadata(hasData: hasData)
        let snapshot = try readSnapshot()
        try readClosed(after: snapshot)
        try readOpen(after: snapshot)
        log.lastIndex = next - 1
        if let snapshot, log.lastIndex < snapshot.index {
            log.lastIndex = snapshot.index
            if log.lastTerm == 0 { log.lastTerm = snapshot.term }
        }
    }

    private mutating func fault(_ name: String, _ reason: String) {
        log.faults.append(.init(file: "\(directory)/\(name)", reason: reason))
    }

    private func content(_ name: String, limit: Int = 256 << 20) throws(SystemError) -> [UInt8] {
        guard let bytes = try DurableFile.read("\(directory)/\(name)", limit: limit) else {
            throw SystemError("read", "\(directory)/\(name)", errno: ENOENT)
        }
        return bytes
    }

    // MARK: The vote

    private mutating func readMetadata(hasData: Bool) throws(SystemError) {
        guard !names.metadata.isEmpty else {
            fault("metadata1", "and metadata2 are missing, which say whom this node has voted for")
            return
        }
        var readable: [(version: UInt64, term: UInt64)] = []
        for name in names.metadata {
            let bytes = try content(name, limit: 4096)
            // Shorter: torn by a crash while it was first written. libraft takes it for not there, and uses the other.
            if bytes.count < 32 { continue }
            if let metadata = RaftMetadata.decode(bytes) {
                readable.append((metadata.version, metadata.metadata.term))
            } else {
                fault(name, "is damaged: it says whom this node has voted for")
            }
        }
        if readable.isEmpty {
            if log.faults.isEmpty, hasData {
                fault(names.metadata[0], "is cut off: it says whom this node has voted for")
            }
        } else if readable.count == 2, readable[0].version == readable[1].version {
            fault("metadata1", "and metadata2 have the same version: one was copied over the other")
        }
        log.term = readable.max { $0.version < $1.version }?.term ?? 0
    }

    // MARK: The snapshot

    private mutating func readSnapshot() throws(SystemError) -> (term: UInt64, index: UInt64)? {
        guard let newest = names.snapshots.last else { return nil }
        let bytes = try content(newest.name + ".meta", limit: 2 << 20)
        let members = bytes.withUnsafeBytes { Self.members(inSnapshotMeta: $0) }
        switch members {
        case .success(let members): log.members = members ?? []
        case .failure(let failure):
            if let format = failure.format {
                log.unknown.append(newest.name + ".meta (format \(format))")
            } else {
                fault(newest.name + ".meta", "is damaged: \(failure.reason)")
            }
        }
        if let reason = try content(newest.name).withUnsafeBytes(Self.flaw(inSnapshot:)) {
            fault(newest.name, "is damaged: \(reason)")
        }
        log.lastTerm = newest.term
        return (newest.term, newest.index)
    }

    private struct MetaFailure: Error {
        var reason = ""
        var format: UInt64?
    }

    /// Format, CRC of all that follows, index of the configuration, its length, the configuration.
    private static func members(
        inSnapshotMeta file: UnsafeRawBufferPointer
    ) -> Result<[RaftConfiguration.Member]?, MetaFailure> {
        guard file.count > 32 else { return .failure(.init(reason: "it has \(file.count) bytes only")) }
        func word(_ index: Int) -> UInt64 {
            UInt64(littleEndian: file.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
        }
        guard word(0) == 1 else {
            return .failure(word(0) > 1 && word(0) < 10 ? .init(format: word(0)) : .init(reason: "it has no format"))
        }
        guard word(3) <= UInt64(file.count - 32) else { return .failure(.init(reason: "it is cut off")) }
        let checked = UnsafeRawBufferPointer(rebasing: file[16..<(32 + Int(word(3)))])
        guard UInt64(cdqlite_crc32(checked.baseAddress, checked.count)) == word(1) else {
            return .failure(.init(reason: "it does not match its checksum"))
        }
        return .success(RaftConfiguration(UnsafeRawBufferPointer(rebasing: checked[16...]))?.members)
    }

    /// What is wrong with the data of a snapshot, as far as its frame tells: libraft compresses it (LZ4), and checks the
    /// checksum of that itself when it loads.
    private static func flaw(inSnapshot file: UnsafeRawBufferPointer) -> String? {
        guard file.count >= 4 else { return "it has \(file.count) bytes only" }
        func word(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard word(0) == 0x184D_2204 else {
            // Not compressed: dqlite's own header, whose format is 1.
            return word(0) == 1 ? nil : "it begins with nothing that a snapshot begins with"
        }
        guard file.count > 7 else { return "it is cut off" }
        let flags = file[4]
        var offset = 7 + (flags & 0x08 != 0 ? 8 : 0) + (flags & 0x01 != 0 ? 4 : 0)
        while true {
            guard offset <= file.count - 4 else { return "it is cut off" }
            let size = word(offset)
            offset += 4
            if size == 0 { break }
            offset += Int(size & 0x7FFF_FFFF) + (flags & 0x10 != 0 ? 4 : 0)
        }
        offset += flags & 0x04 != 0 ? 4 : 0
        return offset <= file.count ? nil : "it is cut off"
    }

    // MARK: The log

    private mutating func readClosed(after snapshot: (term: UInt64, index: UInt64)?) throws(SystemError) {
        var chain = names.closed[...]
        if let snapshot {
            // What lies behind a gap below the snapshot is left over, and libraft ignores it.
            var start = chain.endIndex
            while start > chain.startIndex {
                if start < chain.endIndex, chain[start - 1].last + 1 != chain[start].first { break }
                start -= 1
            }
            if start < chain.endIndex, chain[start].first > snapshot.index + 1, start > chain.startIndex {
                fault(chain[start].name, "does not follow \(chain[start - 1].name): entries between them are missing")
                return
            }
            chain = chain[start...]
            next = chain.first?.first ?? snapshot.index + 1
            if next > snapshot.index + 1, let first = chain.first {
                fault(
                    first.name,
                    "begins after entry \(snapshot.index), the last of the newest snapshot: entries between them are missing"
                )
                return
            }
            // All of it is in the snapshot. Open segments may still follow what is there.
            if let last = chain.last, last.last < snapshot.index, names.open.isEmpty {
                next = snapshot.index + 1
                return
            }
        }
        for segment in chain {
            guard segment.first == next, segment.last >= segment.first else {
                fault(segment.name, "does not follow entry \(next - 1): the entries between are missing")
                return
            }
            let content = RaftSegment(try content(segment.name))
            if case .unknown(let format) = content.end {
                log.unknown.append("\(segment.name) (format \(format))")
                next = segment.last + 1
                continue
            }
            guard checkBeginning(content, segment.name, hasSnapshot: snapshot != nil) else { return }
            take(content)
            if case .broken(let offset, let reason, _) = content.end {
                fault(segment.name, "is damaged at byte \(offset): \(reason)")
                return
            }
            guard next == segment.last + 1 else {
                fault(
                    segment.name,
                    "holds \(content.count) entries and not the \(segment.last - segment.first + 1) of its name")
                return
            }
        }
    }

    private mutating func readOpen(after snapshot: (term: UInt64, index: UInt64)?) throws(SystemError) {
        guard log.faults.allSatisfy({ $0.file.hasPrefix("\(directory)/metadata") }) else { return }
        if names.closed.isEmpty, let snapshot { next = snapshot.index + 1 }
        var torn: String?
        for segment in names.open {
            let content = RaftSegment(try content(segment.name))
            if let torn, content.count > 0 || content.end != .whole {
                fault(torn, "is damaged at its end, although \(segment.name) was written after it")
                return
            }
            guard checkBeginning(content, segment.name, hasSnapshot: snapshot != nil) else { return }
            take(content)
            switch content.end {
            case .whole: break
            case .unknown(let format): log.unknown.append("\(segment.name) (format \(format))")
            case .broken(let offset, let reason, true):
                fault(segment.name, "is damaged at byte \(offset): \(reason), and what was written after it is there")
                return
            case .broken:
                log.hasTornEnd = true
                torn = segment.name
            }
        }
        if let snapshot, next <= snapshot.index {
            fault(
                names.open.last?.name ?? names.closed.last?.name ?? "",
                "ends at entry \(next - 1), before entry \(snapshot.index) of the newest snapshot")
        }
    }

    /// Nothing tells an open segment's place but what comes before it. The first entry of every log lists the members.
    private mutating func checkBeginning(_ segment: RaftSegment, _ name: String, hasSnapshot: Bool) -> Bool {
        guard !hasSnapshot, next == 1, segment.count > 0, segment.configurations.first?.offset != 0 else { return true }
        fault(name, "does not hold the first entry of the log, and the segment before it is missing")
        return false
    }

    private mutating func take(_ segment: RaftSegment) {
        if let members = segment.configurations.last?.members { log.members = members }
        if let term = segment.lastTerm { log.lastTerm = term }
        next += segment.count
    }
}
