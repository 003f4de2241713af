import Dqlite
import Glibc
import Platform
import Testing

/// libdqlite's own failures poison the process, so those run in a process of their own (exit tests).
@Suite("a node that cannot be")
struct NodeFailureTests {
    private func node(_ directory: String, id: DqliteNodeID = 1, latency: Duration = .milliseconds(20)) -> DqliteNode {
        DqliteNode(configuration: .init(id: id, address: "n1", directory: directory, networkLatency: latency))
    }

    @Test("a directory that cannot be used is refused before libdqlite is asked, with its remedy")
    func directories() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory + "/file"
            try DurableFile.write([1], to: file)
            let cases = [
                (directory + "/missing", "does not exist", "create it"), (file, "not a directory", "name a directory"),
                ("/proc", "cannot be written", "make it writable"),
            ]
            for (path, reason, remedy) in cases {
                let error = await dqliteError { try await node(path).start() }
                #expect(error?.code == .nodeCreate)
                #expect(error?.message.contains(path) == true)
                #expect(error?.message.contains(reason) == true, "\(error.map { "\($0)" } ?? "no error")")
                #expect(error?.remedy?.contains(remedy) == true)
            }
            // None of them reached libdqlite: the process is still good for a node.
            mkdir(directory + "/good", 0o700)
            let good = node(directory + "/good")
            try await good.start()
            try await good.stop()
        }
    }

    @Test("settings that libdqlite would refuse or misread are refused")
    func settings() async throws {
        try await withTemporaryDirectory { directory in
            let nodes = [
                node(directory, id: 0), node(directory, latency: .zero), node(directory, latency: .microseconds(1500)),
                node(directory, latency: .seconds(3601)),
                DqliteNode(configuration: .init(id: 1, address: "", directory: directory)),
                DqliteNode(configuration: .init(id: 1, address: "n", directory: directory, snapshotThreshold: 5)),
                DqliteNode(
                    configuration: .init(
                        id: 1, address: "n", directory: directory, snapshotThreshold: 8, snapshotTrailing: 4)),
            ]
            for node in nodes {
                let error = await dqliteError { try await node.start() }
                #expect(error?.code == .misuse)
            }
            #expect(entries(of: directory).isEmpty)
        }
    }

    @Test("starting twice, stopping twice and asking a stopped node for its address are misuse")
    func lifeCycle() async throws {
        try await withTemporaryDirectory { directory in
            let node = node(directory)
            #expect(await dqliteError { _ = try node.bindAddress }?.code == .misuse)
            #expect(await dqliteError { try await node.stop() }?.code == .misuse)
            try await node.start()
            #expect(await dqliteError { try await node.start() }?.code == .misuse)
            try await node.stop()
            #expect(await dqliteError { try await node.stop() }?.code == .misuse)
            #expect(await dqliteError { try await node.start() }?.code == .misuse)
            #expect(await dqliteError { _ = try node.bindAddress }?.code == .misuse)
        }
    }

    @Test("damaged metadata fail the create with a remedy, and the process refuses further nodes instead of crashing")
    func damagedMetadata() async {
        await #expect(processExitsWith: .success) {
            try await withTemporaryDirectory { directory in
                let damaged = directory + "/damaged"
                let sound = directory + "/sound"
                mkdir(damaged, 0o700)
                mkdir(sound, 0o700)
                for name in ["metadata1", "metadata2"] {
                    try DurableFile.write([UInt8](repeating: 0xFF, count: 32), to: damaged + "/" + name)
                }
                let first = await dqliteError {
                    try await DqliteNode(configuration: .init(id: 1, address: "n", directory: damaged)).start()
                }
                expect(first?.code == .nodeCreate, "\(String(describing: first))")
                expect(first?.message.contains("damaged") == true, "\(String(describing: first))")
                expect(first?.rawCode != nil, "\(String(describing: first))")
                expect(RaftMetadata.term(inDirectory: damaged) == nil, "a term from damaged files")
                let second = await dqliteError {
                    try await DqliteNode(configuration: .init(id: 1, address: "n", directory: sound)).start()
                }
                expect(second?.code == .nodeCreate, "\(String(describing: second))")
                expect(second?.remedy?.contains("start the process again") == true, "\(String(describing: second))")
            }
        }
    }

    @Test("a truncated segment fails the start with libdqlite's words, and closes the latch")
    func truncatedSegment() async {
        await #expect(processExitsWith: .success) {
            try await withTemporaryDirectory { directory in
                let good = DqliteNode(configuration: .init(id: 1, address: "n", directory: directory))
                try await good.start()
                try await good.stop()
                // Closed at the stop: "first-last".
                let segments = entries(of: directory).filter { $0.contains("-") && !$0.hasPrefix("open") }
                expect(!segments.isEmpty, "no closed segment: \(entries(of: directory))")
                for segment in segments { truncate(directory + "/" + segment, 20) }
                let failed = await dqliteError {
                    try await DqliteNode(configuration: .init(id: 1, address: "n", directory: directory)).start()
                }
                expect(failed?.code == .nodeStart, "\(String(describing: failed))")
                expect(failed?.message.contains("does not start: ") == true, "\(String(describing: failed))")
                let after = await dqliteError {
                    try await DqliteNode(configuration: .init(id: 1, address: "n", directory: directory)).start()
                }
                expect(after?.remedy?.contains("start the process again") == true, "\(String(describing: after))")
            }
        }
    }

    @Test("the newer sound metadata file counts")
    func metadata() async throws {
        func file(_ version: UInt64, _ term: UInt64, format: UInt64 = 1) -> [UInt8] {
            [format, version, term, 0].flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
        }
        try await withTemporaryDirectory { directory in
            #expect(RaftMetadata.term(inDirectory: directory) == nil)
            try DurableFile.write(file(3, 7), to: directory + "/metadata1")
            #expect(RaftMetadata.term(inDirectory: directory) == 7)
            try DurableFile.write(file(4, 9), to: directory + "/metadata2")
            #expect(RaftMetadata.term(inDirectory: directory) == 9)
            try DurableFile.write(file(5, 11), to: directory + "/metadata1")
            #expect(RaftMetadata.term(inDirectory: directory) == 11)
            for broken in [file(9, 99, format: 2), file(0, 99), Array(file(9, 99).dropLast()), file(9, 99) + [0], []] {
                try DurableFile.write(broken, to: directory + "/metadata1")
                #expect(RaftMetadata.term(inDirectory: directory) == 9)
            }
        }
    }
}

/// In an exit test an expectation that fails must end the process with a failure.
private func expect(_ condition: Bool, _ message: @autoclosure () -> String) {
    if condition { return }
    _ = Array("expectation failed: \(message())\n".utf8).withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    exit(1)
}
