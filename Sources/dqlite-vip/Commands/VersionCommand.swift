import ArgumentParser
import CDqlite
import Glibc

/// Prints what a report of a fault should say.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the versions of dqlite-vip, libdqlite, Swift and the kernel.")

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let report = VersionReport.current
        if json {
            try Terminal.show(try JSONText.of(report))
        } else {
            let rows = [
                ["dqlite-vip", report.version], ["libdqlite", report.libdqlite], ["Swift", report.swift],
                ["kernel", report.kernel], ["architecture", report.architecture],
            ]
            try Terminal.show(PrintableText(rows: rows))
        }
    }
}

struct VersionReport: Codable, Hashable {
    var version: String
    /// Of the library that is loaded, not of the header at build time.
    var libdqlite: String
    /// The version of the compiler, which a program knows to its second part.
    var swift: String
    var kernel: String
    var architecture: String

    static var current: VersionReport {
        var system = utsname()
        // uname fails for an invalid pointer only.
        uname(&system)
        return VersionReport(
            version: Version.product, libdqlite: dqliteVersion(Int(dqlite_version_number())), swift: compiler,
            kernel: "\(text(of: system.sysname)) \(text(of: system.release))", architecture: text(of: system.machine))
    }

    /// dqlite.h has major × 10000 + minor × 100 + release.
    static func dqliteVersion(_ number: Int) -> String {
        "\(number / 10000).\(number / 100 % 100).\(number % 100)"
    }

    private static var compiler: String {
        #if compiler(>=6.5)
            "6.5 or later"
        #elseif compiler(>=6.4)
            "6.4"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }

    private static func text(of field: some Any) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
