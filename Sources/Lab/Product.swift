import CLinux
import FoundationEssentials
import Glibc

/// Where the binary under test is.
public enum Product {
    /// The variable that names another binary than the one just built.
    public static let environmentKey = "DQLITE_VIP_BINARY"

    /// The path of dqlite-vip: $DQLITE_VIP_BINARY, else the one beside this process's own executable or test bundle.
    ///
    /// - Throws: `LabError` that says where it was looked for and how to build it.
    public static func locate() throws(LabError) -> String {
        if let path = ProcessInfo.processInfo.environment[environmentKey], !path.isEmpty {
            do { return try program(path) } catch { throw LabError("\(environmentKey): \(error)") }
        }
        // Tests run in a helper of the toolchain; the bundle that it was given as an argument lies in .build.
        let candidates = (CommandLine.arguments + [executable()]).map { argument in
            argument.hasPrefix("/") ? argument : "\(currentDirectory())/\(argument)"
        }
        for candidate in candidates {
            var directory = candidate[...]
            while let slash = directory.lastIndex(of: "/") {
                directory = directory[..<slash]
                let path = "\(directory)/dqlite-vip"
                if directory.contains("/.build") && isFile(path) { return path }
            }
        }
        for configuration in ["debug", "release"] {
            let path = "\(currentDirectory())/.build/\(configuration)/dqlite-vip"
            if isFile(path) { return path }
        }
        throw LabError("no dqlite-vip beside \(executable()): run `swift build`, or name one with \(environmentKey)")
    }

    /// The absolute path of a program that can be run.
    public static func program(_ path: String) throws(LabError) -> String {
        guard isFile(path) else { throw LabError("\(path) is no program that can be run") }
        return path.hasPrefix("/") ? path : "\(currentDirectory())/\(path)"
    }

    private static func isFile(_ path: String) -> Bool {
        var information = stat()
        return stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }

    private static func executable() -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }

    static func currentDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "." }
        defer { free(path) }
        return String(cString: path)
    }
}

/// The options of `dqlite-vip start`, as the laboratory uses them.
public struct StartOptions: Equatable, Sendable {
    /// Relative to the node's own working directory, so that the command line can be the same on every node.
    public var dataDirectory = "data"
    public var interface: String? = Network.interface
    public var bindHTTP: String? = "127.0.0.1:9900"
    public var bindCluster: String?
    public var bootstrapExpect: Int?
    /// Each becomes one --join.
    public var join: [String] = []
    public var discoMode: String?
    public var discoKey: String?
    /// JSON, or the path of a file with it.
    public var discoConfig: String?
    public var isNonVoter = false
    /// Put last, as they are.
    public var further: [String] = []

    public init() {}

    /// The same for every node: `expect` founders, all of the first `expect` nodes in one --join.
    public static func identical(expect: Int) -> StartOptions {
        var options = StartOptions()
        options.bootstrapExpect = expect
        options.join = [(1...expect).map { "\(Network.address(ofNode: $0)):8800" }.joined(separator: ",")]
        return options
    }

    /// The same for every node: they find each other by a mode of discovery, not by addresses.
    public static func discovering(_ mode: String, config: String? = nil, expect: Int? = nil) -> StartOptions {
        var options = StartOptions()
        options.discoMode = mode
        options.discoConfig = config
        options.bootstrapExpect = expect
        return options
    }

    /// "start" and all flags.
    public var arguments: [String] {
        var arguments = ["start", "--data-dir", dataDirectory]
        if let interface { arguments += ["--iface", interface] }
        if let bindCluster { arguments += ["--bind-cluster", bindCluster] }
        if let bindHTTP { arguments += ["--bind-http", bindHTTP] }
        if let bootstrapExpect { arguments += ["--bootstrap-expect", "\(bootstrapExpect)"] }
        for address in join { arguments += ["--join", address] }
        if let discoMode { arguments += ["--disco-mode", discoMode] }
        if let discoKey { arguments += ["--disco-key", discoKey] }
        if let discoConfig { arguments += ["--disco-config", discoConfig] }
        if isNonVoter { arguments.append("--non-voter") }
        return arguments + further
    }
}
