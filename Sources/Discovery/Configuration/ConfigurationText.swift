import Glibc
public import Platform

/// What `--disco-config` was given: a JSON object, or the path of a file that has one.
///
/// Loading is the only I/O; `parse` is pure. Neither ever repeats the content, which may hold passwords and tokens.
public enum ConfigurationText: Hashable, Sendable {
    /// The object itself.
    case literal(String)
    /// The path of a file.
    case file(String)

    /// The longest text, in bytes, before and after variables are expanded.
    public static let limit = 1 << 20

    /// A text that begins with `{`, after white space, is the object; any other is a path.
    public init(_ text: String) {
        let first = text.utf8.first { !JSONReader.isWhitespace($0) }
        self = first == UInt8(ascii: "{") ? .literal(text) : .file(text)
    }

    /// The path, when it can be quoted in a message: one with quotes, braces, colons or line ends is more likely an object
    /// that lost something to the shell, and may hold secrets. nil for a literal, too.
    public var quotablePath: String? {
        guard case .file(let path) = self, path.utf8.count < Int(PATH_MAX),
            !path.unicodeScalars.contains(where: { "\"'{}[]:".unicodeScalars.contains($0) || $0.value < 0x20 })
        else { return nil }
        return path
    }

    /// The bytes of the text, of the file where it is a path.
    ///
    /// Only regular files are read: the daemon reads it again each time it is started again, and a pipe would be empty
    /// then.
    /// - Throws: `SystemError` that names the path if that can be quoted; EFBIG beyond `limit`.
    public func load() throws(SystemError) -> [UInt8] {
        guard case .file(let path) = self else {
            guard case .literal(let text) = self, text.utf8.count <= Self.limit else { throw Self.tooLong("the text") }
            return Array(text.utf8)
        }
        let name = quotablePath ?? "the file of that name"
        let remedy = "give the path of a file, or the JSON itself, which begins with {"
        guard !path.utf8.contains(0) else { throw SystemError("read", name, errno: EINVAL, remedy: remedy) }
        // Without O_NONBLOCK a pipe that nobody writes to would hold us up.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let error = SystemError.last("read", name, remedy: remedy)
            // Root may read what it owns: the daemon gives up the right to read everything (`Capabilities.needed`).
            throw error.errno == EACCES
                ? error.advised(
                    "let the user of this process read it (chown, chmod); also root reads no files of others here")
                : error
        }
        defer { close(descriptor) }
        var status = stat()
        try retryingOnInterrupt("read", name) { fstat(descriptor, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw SystemError("read", name, errno: status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL, remedy: remedy)
        }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = try retryingOnInterrupt("read", name) {
                chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            }
            if count == 0 { return content }
            content += chunk[..<count]
            if content.count > Self.limit { throw Self.tooLong(name) }
        }
    }

    private static func tooLong(_ name: String) -> SystemError {
        SystemError("read", name, errno: EFBIG, remedy: "a configuration has at most \(limit) bytes")
    }

    /// The object in a text, with `$NAME` and `${NAME}` replaced by values of `environment`, see `ExpandedText`.
    ///
    /// - Throws: `ConfigurationFault` with line and column of what is wrong, in the text as it was given.
    public static func parse(
        _ text: [UInt8], environment: [String: String]
    ) throws(ConfigurationFault) -> [String: JSONValue] {
        // Editors of another system put a byte order mark before UTF-8.
        let text = text.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(text.dropFirst(3)) : text
        let expanded = try ExpandedText(text, environment: environment, limit: limit)
        do throws(JSONReader.Fault) {
            return try JSONReader.object(in: expanded.bytes)
        } catch {
            throw ConfigurationFault([expanded.place(of: error.offset) + ": " + error.reason])
        }
    }
}

/// What is wrong with the text of a configuration; never with what stands there.
public struct ConfigurationFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// Each a sentence.
    public var reasons: [String]

    init(_ reasons: [String]) {
        self.reasons = reasons
    }

    public var description: String { reasons.joined(separator: "; ") }
}
