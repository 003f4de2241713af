import FoundationEssentials
import Glibc
import Platform

/// The parser of prometheus_client (https://prometheus.github.io/client_python/parser/), in a Python that has it.
enum PrometheusClient {
    /// Debian's, unless `DQLITE_VIP_PYTHON` names another.
    static var python: String { getenv("DQLITE_VIP_PYTHON").map { String(cString: $0) } ?? "/usr/bin/python3" }

    static let isThere = (try? run("import prometheus_client.parser; print('yes')", "")) == "yes\n"

    /// The labels of the one sample of a metric.
    static func labels(of metric: String, in text: String) throws -> [String: String] {
        let program = """
            import json, sys
            from prometheus_client.parser import text_string_to_metric_families
            text = open(sys.argv[1], encoding="utf-8", newline="").read()
            samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
            [sample] = [s for s in samples if s.name == "\(metric)"]
            print(json.dumps(sample.labels))
            """
        return try JSONDecoder().decode([String: String].self, from: Data(try run(program, text).utf8))
    }

    /// Runs a program with a file that holds the text as its argument; gives what it printed.
    private static func run(_ program: String, _ text: String) throws -> String {
        var template = Array("/tmp/prometheus-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try Data(program.utf8).write(to: URL(filePath: "\(directory)/program.py"))
        try Data(text.utf8).write(to: URL(filePath: "\(directory)/text"))
        guard let pipe = popen("\(python) \(directory)/program.py \(directory)/text 2>&1", "r") else {
            throw SystemError.last("run", python)
        }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { output += chunk[..<count] }
        let said = String(decoding: output, as: UTF8.self)
        guard pclose(pipe) == 0 else { throw SystemError("parse with \(python): \(said)", errno: EPROTO) }
        return said
    }
}
