import Dqlite
import Platform
import Testing

@Suite("the raft peer stream")
struct RaftStreamTests {
    private static let appendEntries = hex(
        """
        0100000000000000 5000000000000000  // AppendEntries, header of 48 + 2*16 bytes
        0700000000000000                   // term
        0a00000000000000 0600000000000000  // previous index and term
        0900000000000000                   // commit
        0200000000000000                   // two entries
        0600000000000000 01 aabbcc 03000000  // term, type, garbage, three bytes of data
        0700000000000000 02 aabbcc 05000000  // five
        deadbeefdeadbeef                   // never written
        112233 4455667788                  // payload
        """)
    private static let heartbeat = hex(
        """
        0100000000000000 3000000000000000
        0700000000000000 0c00000000000000 0700000000000000 0c00000000000000 0000000000000000
        0000000000000000
        """)
    private static let snapshot = hex(
        """
        0500000000000000 4000000000000000  // InstallSnapshot, 56 + 8
        0700000000000000 2000000000000000 0600000000000000 0100000000000000  // term, last index and term, configuration
        0800000000000000 0102030405060708  // eight bytes of configuration
        0b00000000000000 deadbeefdeadbeef  // eleven bytes of snapshot; garbage
        0100000000000000 010000
        """)
    private static let newSnapshot = hex(
        """
        0500000000000000 3800000000000000  // without the garbage word: 48 + 8
        0700000000000000 2000000000000000 0600000000000000 0100000000000000
        0800000000000000 0102030405060708
        0200000000000000 0900
        """)
    private static let result = hex(
        "0200000000000000 1800000000000000 0700000000000000 0500000000000000 0600000000000000")
    private static let resultWithFeatures = hex(
        "0200000000000000 2000000000000000 0700000000000000 0000000000000000 0600000000000000 0300000000000000")
    private static let vote = hex(
        """
        0300000000000000 2800000000000000
        0800000000000000 0300000000000000 0c00000000000000 0700000000000000 0200000000000000
        """)
    private static let oldVote = hex(
        "0300000000000000 2000000000000000 0800000000000000 0300000000000000 0c00000000000000 0700000000000000")
    private static let granted = hex(
        "0400000000000000 1800000000000000 0800000000000000 0100000000000000 0100000000000000")
    private static let oldDenied = hex("0400000000000000 1000000000000000 0800000000000000 0000000000000000")
    private static let timeoutNow = hex(
        "0600000000000000 1800000000000000 0800000000000000 0c00000000000000 0700000000000000")

    private static let frames: [([UInt8], RaftFrame.Content, UInt64)] = [
        (
            appendEntries,
            .appendEntries(previousIndex: 10, previousTerm: 6, commit: 9, count: 2, lastEntryTerm: 7), 7
        ),
        (heartbeat, .appendEntries(previousIndex: 12, previousTerm: 7, commit: 12, count: 0, lastEntryTerm: 7), 7),
        (snapshot, .installSnapshot(lastIndex: 32, lastTerm: 6), 7),
        (result, .appendEntriesResult(rejected: 5, lastIndex: 6), 7),
        (resultWithFeatures, .appendEntriesResult(rejected: 0, lastIndex: 6), 7),
        (vote, .requestVote(candidate: 3, lastIndex: 12, lastTerm: 7, flags: .second), 8),
        (newSnapshot, .installSnapshot(lastIndex: 32, lastTerm: 6), 7),
        (oldVote, .requestVote(candidate: 3, lastIndex: 12, lastTerm: 7, flags: []), 8),
        (granted, .requestVoteResult(isGranted: true, flags: .first), 8),
        (oldDenied, .requestVoteResult(isGranted: false, flags: []), 8),
        (timeoutNow, .timeoutNow(lastIndex: 12, lastTerm: 7), 8),
    ]

    /// Consumes the chunks, and gives the frames with their ends counted from the beginning of the stream.
    private func scan(_ chunks: [ArraySlice<UInt8>]) -> (frames: [RaftFrame], scanner: RaftFrameScanner) {
        var scanner = RaftFrameScanner()
        var frames: [RaftFrame] = []
        var offset = 0
        for chunk in chunks {
            Array(chunk).withUnsafeBytes { bytes in
                scanner.consume(bytes) { frame in
                    var frame = frame
                    frame.end += offset
                    frames.append(frame)
                }
            }
            offset += chunk.count
        }
        return (frames, scanner)
    }

    private var expected: [RaftFrame] {
        var end = 0
        return Self.frames.map { bytes, content, term in
            end += bytes.count
            return RaftFrame(term: term, content: content, length: UInt64(bytes.count), end: end)
        }
    }

    @Test("each kind of frame is reported at its end, in every split of the stream in two")
    func everySplit() {
        let stream = Self.frames.flatMap(\.0)
        for position in 0...stream.count {
            let (frames, scanner) = scan([stream[..<position], stream[position...]])
            #expect(frames == expected, "split at \(position)")
            #expect(!scanner.isLost)
            #expect(scanner.bytesIntoFrame == 0 && scanner.currentKind == nil)
        }
    }

    @Test("the same comes out of single bytes and of random chunks")
    func chunks() {
        let stream = Self.frames.flatMap(\.0)
        #expect(scan(stream.indices.map { stream[$0...$0] }).frames == expected)
        var random = SplitMix(state: 7)
        for _ in 0..<300 {
            var cuts = (0..<20).map { _ in Int.random(in: 0...stream.count, using: &random) }.sorted()
            cuts = [0] + cuts + [stream.count]
            #expect(scan(zip(cuts, cuts.dropFirst()).map { stream[$0..<$1] }).frames == expected)
        }
    }

    @Test("inside a frame the scanner tells its kind and how far it is")
    func inside() {
        for (bytes, _, _) in Self.frames {
            for position in 1..<bytes.count {
                let (frames, scanner) = scan([bytes[..<position]])
                #expect(frames.isEmpty)
                #expect(scanner.bytesIntoFrame == UInt64(position))
                #expect((scanner.currentKind != nil) == (position >= 8))
            }
        }
    }

    @Test("the position behind an AppendEntries is that of its last entry, or of the one before a heartbeat")
    func position() throws {
        let frames = scan([Self.appendEntries[...], Self.heartbeat[...]]).frames
        #expect(try #require(frames[0].lastPosition) == (12, 7))
        #expect(try #require(frames[1].lastPosition) == (12, 7))
        #expect(scan([Self.vote[...]]).frames[0].isPreVote)
        #expect(scan([Self.granted[...]]).frames[0].isPreVote)
        #expect(!scan([Self.oldVote[...]]).frames[0].isPreVote)
    }

    @Test(
        "what is not understood is reported as lost, at once and for good",
        arguments: [
            "0000000000000000", "0700000000000000", "0101000000000000", "0100000000000080",
            "0100000000000000 0000000000000000", "0100000000000000 3100000000000000",
            "0200000000000000 2800000000000000", "0300000000000000 1800000000000000",
            "0400000000000000 2000000000000000", "0600000000000000 2000000000000000",
            "0500000000000000 ffffffffffffffff",
            // Header length and number of entries do not agree.
            "0100000000000000 3000000000000000 0700000000000000 0700000000000000 0700000000000000 0700000000000000 0100000000000000",
            "0100000000000000 3000000000000000 0700000000000000 0700000000000000 0700000000000000 0700000000000000 ffffffffffffffff",
            // Neither do header length and configuration.
            "0500000000000000 4000000000000000 0700000000000000 0700000000000000 0700000000000000 0700000000000000 0900000000000000",
            "0500000000000000 4000000000000000 0700000000000000 0700000000000000 0700000000000000 0700000000000000 ffffffffffffffff",
            // A snapshot of 2^63 bytes.
            "0500000000000000 3800000000000000 0700000000000000 0700000000000000 0700000000000000 0700000000000000 0000000000000000 0000000000000080",
        ])
    func lost(_ bytes: String) {
        let bad = Self.heartbeat + hex(bytes)
        let (frames, scanner) = scan([bad[...], Self.heartbeat[...], Self.heartbeat[...]])
        #expect(frames.count == 1)
        #expect(scanner.isLost)
    }

    @Test("random bytes never trap", arguments: [UInt64(3), 99])
    func fuzz(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        let stream = Self.frames.flatMap(\.0)
        var lost = 0
        for _ in 0..<5_000 {
            var bytes = stream
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = random.byte()
            }
            if scan([bytes[...]]).scanner.isLost { lost += 1 }
        }
        #expect(lost > 100 && lost < 5_000, "seed \(seed)")
    }

    @Test("our TimeoutNow is the frame that libraft sends")
    func timeoutNow() {
        #expect(RaftFrame.timeoutNow(term: 8, lastIndex: 12, lastTerm: 7) == Self.timeoutNow)
    }

    @Test("the preface is understood in every split, and what follows it is left alone")
    func preface() throws {
        let bytes = try RaftPreface.encode(id: 2, address: "10.0.0.2:8800")
        #expect(
            bytes
                == hex("0100000000000000 03000000 0b 00 0000 0200000000000000 31302e302e302e32 3a38383030 000000"))
        let stream = bytes + Self.heartbeat
        for position in 0...stream.count {
            var preface = RaftPreface()
            var used = 0
            for chunk in [stream[..<position], stream[position...]] {
                used += try Array(chunk).withUnsafeBytes { bytes throws(DqliteError) in try preface.consume(bytes) }
            }
            #expect(used == bytes.count)
            #expect(preface.bytes == bytes)
            #expect(try #require(preface.peer) == (2, "10.0.0.2:8800"))
        }
        var behindWord = RaftPreface(hasProtocolWord: false)
        let used = try Array(stream[8...]).withUnsafeBytes { bytes throws(DqliteError) in
            try behindWord.consume(bytes)
        }
        #expect(used == bytes.count - 8)
        #expect(behindWord.peer?.id == 2)
    }

    @Test(
        "another beginning is refused",
        arguments: [
            "0200000000000000 03000000 0b 00 0000",  // another protocol
            "0100000000000000 01000000 00 00 0000",  // a client's question
            "0100000000000000 00000000 0b 00 0000", "0100000000000000 01000000 0b 00 0000",
            "0100000000000000 ffffffff 0b 00 0000",
            "0100000000000000 02000000 0b 00 0000 0000000000000000 6e31 000000000000",  // id 0
            "0100000000000000 02000000 0b 00 0000 0100000000000000 6162636465666768",  // a text without end
            "0100000000000000 03000000 0b 00 0000 0100000000000000 6e31 000000000000 0000000000000000",
        ])
    func wrongPreface(_ bytes: String) async {
        let error = await dqliteError {
            var preface = RaftPreface()
            _ = try hex(bytes).withUnsafeBytes { bytes throws(DqliteError) in try preface.consume(bytes) }
        }
        #expect(error?.code == .protocolViolation)
    }
}
