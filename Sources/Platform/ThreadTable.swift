/// The threads of this process, as proc(5) lists them.
public enum ThreadTable {
    private static let directory = "/proc/self/task"

    /// The kernel's ids of those whose name begins so.
    public static func threads(named prefixes: [String]) -> [Int32] {
        let ids = ((try? Directory.names(directory)) ?? nil ?? []).compactMap { Int32($0) }
        return ids.filter { id in
            guard let name = text(id, "comm") else { return false }
            return prefixes.contains { name.hasPrefix($0) }
        }
    }

    /// For how long a thread has waited in all for a processor while it could have run (`schedstat`); nil when it is gone, or
    /// the kernel does not count that.
    public static func waited(_ thread: Int32) -> Duration? {
        guard let words = text(thread, "schedstat")?.split(whereSeparator: \.isWhitespace), words.count >= 2,
            let nanoseconds = Int64(words[1])
        else { return nil }
        return .nanoseconds(nanoseconds)
    }

    private static func text(_ thread: Int32, _ file: String) -> String? {
        let bytes = try? DurableFile.read("\(directory)/\(thread)/\(file)", limit: 4096)
        return (bytes ?? nil).map { String(decoding: $0, as: UTF8.self) }
    }
}
