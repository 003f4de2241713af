import Glibc
import Platform

/// Makes what is left of a damaged raft directory readable again: everything up to the first damage.
///
/// For a recovery, in which the loss is accepted, on a copy. The vote may be made up, because the cluster that gets it is a new
/// one with a single voter.
public enum RaftSalvage {
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public var description: String
    }

    /// Removes what is damaged, and what comes after it.
    ///
    /// - Throws: `Failure` when nothing of use is left, `SystemError`.
    public static func repair(_ directory: String) throws {
        // Each round takes away one cause; a damaged snapshot may leave segments without a beginning, and so on.
        for _ in 0..<20 {
            let log = try RaftLog(directory: directory)
            guard let fault = log.faults.first else { return }
            try remove(fault, of: log, in: directory)
        }
        let faults = try RaftLog(directory: directory).faults
        throw Failure(
            description: "nothing of use is left in \(directory): \(faults.map(\.description).joined(separator: "; "))")
    }

    private static func remove(_ fault: RaftLog.Fault, of log: RaftLog, in directory: String) throws {
        let all = try Directory.names(directory) ?? []
        let names = RaftFileNames(all)
        let name = String(fault.file.dropFirst(directory.count + 1))
        if name.hasPrefix("metadata") {
            for name in names.metadata { try DurableFile.remove("\(directory)/\(name)") }
            let term = max(log.term, log.lastTerm) + 1
            try DurableFile.write(RaftMetadata.encode(version: 1, term: term, vote: 0), to: directory + "/metadata1")
            return
        }
        if name.hasPrefix("snapshot-") {
            let snapshot = name.hasSuffix(".meta") ? String(name.dropLast(5)) : name
            // The one before it, if any, comes with enough of the log.
            for name in [snapshot + ".meta", snapshot] { try DurableFile.remove("\(directory)/\(name)") }
            return
        }
        if name.hasPrefix("corrupt-") { return try DurableFile.remove("\(directory)/\(name)") }
        // A damaged segment, and those after it: what follows a hole is of no use.
        var later = names.closed.map(\.name) + names.open.map(\.name)
        guard let place = later.firstIndex(of: name) else {
            throw Failure(description: "\(fault): that cannot be repaired")
        }
        later.removeFirst(place)
        let first = names.closed.first { $0.name == name }?.first
        let sound = try soundPart(fault.file)
        for name in later { try DurableFile.remove("\(directory)/\(name)") }
        guard let sound else { return }
        let kept = first.map { "\(padded($0))-\(padded($0 + sound.count - 1))" } ?? name
        try DurableFile.write(sound.bytes, to: "\(directory)/\(kept)")
    }

    /// What comes before the first damage in a segment, if anything does, and how many entries that is.
    private static func soundPart(_ file: String) throws -> (bytes: [UInt8], count: UInt64)? {
        guard let bytes = try DurableFile.read(file, limit: 256 << 20) else { return nil }
        let segment = RaftSegment(bytes)
        guard case .broken(let offset, _, _) = segment.end, segment.count > 0 else { return nil }
        return (Array(bytes[..<offset]), segment.count)
    }

    private static func padded(_ number: UInt64) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 16 - digits.count)) + digits
    }
}
