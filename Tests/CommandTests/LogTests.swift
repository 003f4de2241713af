import CLinux
import FoundationEssentials
import Glibc
import Logging
import Platform
import Synchronization
import Testing

@testable import dqlite_vip

/// Keeps the lines.
private final class MemorySink: LogSink {
    private let lines = Mutex<[[UInt8]]>([])
    func write(_ line: [UInt8]) { lines.withLock { $0.append(line) } }
    var texts: [String] { lines.withLock { $0.map { String(decoding: $0, as: UTF8.self) } } }
}

@Suite struct LogTests {
    private static let time = WallTime(milliseconds: 1_795_242_660_250)

    private static func line(
        _ message: String, _ metadata: Logger.Metadata = [:], level: Logger.Level = .notice
    ) -> LogLine {
        LogLine(time: time, level: level, label: "cluster", message: message, metadata: metadata)
    }

    private static func text(_ line: LogLine, _ prefix: LogLine.Prefix = .time) -> String {
        String(decoding: line.text(prefix), as: UTF8.self)
    }

    private static func json(_ line: LogLine) -> String { String(decoding: line.json(), as: UTF8.self) }

    @Test("a text line has time, level, label, message and sorted key=value pairs")
    func text() {
        let line = Self.line("formed", ["raft.term": "7", "cluster.id": "x y", "a": "", "b": "k=v", "c": "\"q\" \\"])
        #expect(
            Self.text(line)
                == "2026-11-21T06:31:00.250Z notice cluster: formed a=\"\" b=\"k=v\" c=\"\\\"q\\\" \\\\\" "
                + "cluster.id=\"x y\" raft.term=7\n")
    }

    @Test(
        "under journald the line begins with the priority and has no time",
        arguments: zip(Logger.Level.allCases, [7, 7, 6, 5, 4, 3, 2]))
    func journal(level: Logger.Level, priority: Int) {
        #expect(Self.text(Self.line("m", level: level), .priority) == "<\(priority)>cluster: m\n")
    }

    @Test("a JSON line is one object with the same fields, numbers and flags as such")
    func json() {
        let line = Self.line(
            "formed",
            [
                "raft.term": .stringConvertible(7), "ok": .stringConvertible(true), "f": .stringConvertible(1.5),
                "nan": .stringConvertible(Double.nan), "s": "7", "list": ["a", .stringConvertible(1)], "d": ["k": "v"],
            ])
        #expect(
            Self.json(line)
                == #"{"time":"2026-11-21T06:31:00.250Z","level":"notice","label":"cluster","message":"formed","#
                + #""metadata":{"d":{"k":"v"},"f":1.5,"list":["a",1],"nan":"nan","ok":true,"raft.term":7,"s":"7"}}"#
                + "\n")
        #expect(
            Self.json(Self.line("m"))
                == #"{"time":"2026-11-21T06:31:00.250Z","level":"notice","label":"cluster","message":"m"}"# + "\n")
    }

    static let nasty = [
        "a\nb", "a\r\nb", "\u{1B}[2J", "\0", "\u{7F}\u{85}\u{9B}", "\u{2028}\u{2029}", "\u{202E}evil\u{2066}",
        "tab\there", "\"quoted\" \\ back", "é 漢字 😀", "\u{FEFF}", "<3>forged", String(repeating: "x", count: 100_000),
        String(repeating: "😀", count: 10_000),
    ]

    @Test("whatever is logged is one line, in which nothing moves the cursor or turns the text", arguments: nasty)
    func oneLine(nasty: String) throws {
        let line = Self.line(nasty, ["key\n": .string(nasty), "list": [.string(nasty)]])
        for bytes in [line.text(.time), line.text(.priority), line.json()] {
            #expect(bytes.last == 10 && !bytes.dropLast().contains { $0 < 0x20 || $0 == 0x7F })
            #expect(bytes.count < 48 << 10)
            let text = String(decoding: bytes.dropLast(), as: UTF8.self)
            #expect(
                !text.unicodeScalars.contains {
                    (0x80..<0xA0).contains($0.value) || (0x2028...0x202E).contains($0.value)
                })
        }
        struct Line: Decodable {
            var message: String
        }
        let decoded = try JSONDecoder().decode(Line.self, from: Data(line.json()))
        let isCut = nasty.utf8.count > LogLine.longestText
        #expect(isCut ? decoded.message.hasSuffix("…[cut]") : decoded.message == nasty)
    }

    @Test(
        "a value with a blank, a quote or an equals sign is quoted also where that is no Character of its own",
        arguments: [
            ("\"\u{301}", "\"\\\"\u{301}\""), (" \u{301}x", "\" \u{301}x\""), ("=\u{301}", "\"=\u{301}\""),
            ("a \u{301}level=error", "\"a \u{301}level=error\""), ("\r\n", "\\r\\n"),
            ("\\\u{301} ", "\"\\\\\u{301} \""),
        ])
    func scalars(value: String, written: String) {
        let text = Self.text(Self.line("m", ["k": .string(value)]), .priority)
        #expect(text.unicodeScalars.elementsEqual("<5>cluster: m k=\(written)\n".unicodeScalars), "\(text)")
    }

    @Test("what is invisible is shown by its number, in JSON as two escapes where it is beyond the basic plane")
    func invisible() throws {
        let line = Self.line("a\u{200B}b\u{E0041}")
        #expect(Self.text(line, .priority) == "<5>cluster: a\\u{200b}b\\u{e0041}\n")
        #expect(Self.json(line).contains("a\\u200bb\\udb40\\udc41"))
    }

    @Test("the handler's metadata yields to the provider's and that to the statement's; an error is told too")
    func metadata() {
        let sink = MemorySink()
        var handler = LineLogHandler(
            label: "l", level: .trace, format: .text, prefix: .priority, sink: sink, now: { Self.time })
        handler.metadata = ["a": "1", "b": "1", "c": "1"]
        handler.metadataProvider = Logger.MetadataProvider { ["b": "2", "c": "2"] }
        var logger = Logger(label: "l") { _ in handler }
        logger.info("m", metadata: ["c": "3"])
        var other = logger
        other[metadataKey: "a"] = "9"
        other.logLevel = .error
        other.warning("not seen")
        logger.warning("failed", error: SystemError("x", errno: 1))
        logger.logLevel = .critical
        logger.error("not seen either")
        #expect(
            sink.texts == [
                "<6>l: m a=1 b=2 c=3\n",
                "<4>l: failed a=1 b=2 c=2 error=\"cannot x: Operation not permitted (errno 1)\"\n",
            ])
    }

    @Test("lines of many threads do not mix in a pipe, also when they are longer than it takes at once")
    func threads() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let (reader, writer) = (ends[0], ends[1])
        let sink = DescriptorSink(writer)
        async let read = BlockingThread.run(named: "test reader") {
            var all: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while case let count = Glibc.read(reader, &buffer, buffer.count), count > 0 { all += buffer.prefix(count) }
            return all
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for letter in UInt8(ascii: "a")...UInt8(ascii: "h") {
                group.addTask {
                    try await BlockingThread.run(named: "test writer") {
                        for _ in 0..<20 { sink.write([UInt8](repeating: letter, count: 100_000) + [10]) }
                    }
                }
            }
            try await group.waitForAll()
        }
        close(writer)
        let lines = try await read.split(separator: 10)
        close(reader)
        #expect(lines.count == 160)
        #expect(lines.allSatisfy { line in line.count == 100_000 && line.allSatisfy { $0 == line.first } })
    }

    @Test("a reader that has gone and a pipe that nobody empties do not stop the writer")
    func deafReaders() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let full = DescriptorSink(ends[1])
        #expect(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0)
        full.write([UInt8](repeating: 1, count: 200_000))
        close(ends[0])
        // SIGPIPE would end the process; the daemon ignores it, and this test does so for its own thread alone.
        var mask = sigset_t()
        var before = sigset_t()
        sigemptyset(&mask)
        sigaddset(&mask, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &mask, &before)
        full.write([1])
        var zero = timespec()
        #expect(sigtimedwait(&mask, nil, &zero) == SIGPIPE || errno == EAGAIN)
        pthread_sigmask(SIG_SETMASK, &before, nil)
        close(ends[1])
    }

    @Test("journald is recognised by device and inode, and an inherited variable is not believed")
    func journalStream() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        var status = stat()
        #expect(fstat(ends[1], &status) == 0)
        #expect(LogSetup.isJournal(ends[1], "\(status.st_dev):\(status.st_ino)"))
        for stream in [nil, "", ":", "\(status.st_dev)", "\(status.st_dev):\(status.st_ino + 1)", "x:y", "1:2:3"] {
            #expect(!LogSetup.isJournal(ends[1], stream))
        }
        #expect(!LogSetup.isJournal(-1, "\(status.st_dev):\(status.st_ino)"))
    }
}
