/// A library of a few lines of C that changes what the product hears of its machine: compiled when it is first needed, with
/// the clang of the Swift toolchain, and loaded before all others (LD_PRELOAD, ld.so(8)).
struct PreloadLibrary: Sendable {
    /// Its path.
    let path: String

    /// Compiles `source` into `directory`.
    ///
    /// - Throws: `LabError` with what the compiler said.
    init(_ name: String, source: String, directory: String) throws {
        path = "\(directory)/lib\(name).so"
        let file = "\(directory)/\(name).c"
        try writeFile(source, to: file)
        try ToolCommand.check(["clang", "-shared", "-fPIC", "-O1", "-o", path, file, "-ldl"])
    }

    /// What the product must be started with to load it.
    var environment: [String: String] { [Self.variable: path] }

    private static let variable = "LD_PRELOAD"

    /// Two environments in one, in which the libraries of both are loaded; else the second one counts.
    static func merge(_ first: [String: String], _ second: [String: String]) -> [String: String] {
        var merged = first.merging(second) { $1 }
        let libraries = [first, second].compactMap { $0[variable] }
        if !libraries.isEmpty { merged[variable] = libraries.joined(separator: ":") }
        return merged
    }
}
