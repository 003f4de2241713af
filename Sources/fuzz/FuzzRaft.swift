import NIOCore

@testable import Dqlite

/// The raft stream of a peer: the frames and the preface are the same however it is cut.
func fuzzRaft(_ bytes: [UInt8]) {
    let (content, pieces) = cut(bytes)
    promise(raftFrames([content[...]]) == raftFrames(pieces), "cut, the stream has other frames")
    // Byte by byte is how words are put together.
    if content.count <= 512 {
        promise(raftFrames([content[...]]) == raftFrames(content.indices.map { content[$0...$0] }), "byte by byte")
    }
    for hasProtocolWord in [true, false] {
        let whole = preface([content[...]], hasProtocolWord)
        promise(whole == preface(pieces, hasProtocolWord), "cut, the preface is another one")
    }
    _ = content.withUnsafeBytes { RaftConfiguration.newest(inAppendEntries: $0, after: .max) }
}

/// What a scanner sees in a stream, with the ends counted from its beginning.
private struct Scan: Equatable {
    var frames: [RaftFrame] = []
    var isLost = false
    /// How much of a frame was there at the end; nil once it is lost, where nothing is promised of it.
    var unfinished: UInt64?
}

private func raftFrames(_ pieces: [ArraySlice<UInt8>]) -> Scan {
    var scanner = RaftFrameScanner()
    var scan = Scan()
    var offset = 0
    for piece in pieces {
        Array(piece).withUnsafeBytes { raw in
            scanner.consume(raw) { frame in
                var frame = frame
                frame.end += offset
                scan.frames.append(frame)
            }
        }
        offset += piece.count
    }
    let lengths = scan.frames.map(\.length).reduce(0, +)
    promise(lengths <= UInt64(offset), "frames of \(lengths) bytes in \(offset)")
    scan.isLost = scanner.isLost
    if !scanner.isLost {
        scan.unfinished = scanner.bytesIntoFrame
        promise(lengths + scanner.bytesIntoFrame <= UInt64(offset), "more bytes than there are")
    }
    return scan
}

/// Who a stream says it is, and how much of it that took; nil when it is none.
private func preface(_ pieces: [ArraySlice<UInt8>], _ hasProtocolWord: Bool) -> [String]? {
    var preface = RaftPreface(hasProtocolWord: hasProtocolWord)
    var used = 0
    for piece in pieces {
        do {
            used += try Array(piece).withUnsafeBytes { try preface.consume($0) }
        } catch {
            return nil
        }
    }
    promise(preface.bytes.count == used, "it keeps other bytes than it took")
    return preface.peer.map { ["\($0.id)", $0.address, "\(used)"] } ?? []
}

/// What a node answers to us: any bytes give an answer or an error, whatever was asked.
func fuzzWire(_ bytes: [UInt8]) {
    let (content, pieces) = cut(bytes)
    let messages = wireMessages([content[...]])
    promise(messages == wireMessages(pieces), "cut, the stream has other messages")
    for message in messages + [WireMessage(type: bytes.first ?? 0, body: content)] {
        for request in requests { _ = try? WireResponse(message, answering: request) }
    }
    var whole = AnswerFollower()
    var parts = AnswerFollower()
    promise(whole.consume(content) == pieces.flatMap { parts.consume($0) }, "cut, the stream has other answers")
    var decoder = WireDecoder(content)
    _ = try? decoder.parameters()
    _ = content.withUnsafeBytes { RaftConfiguration($0) }
}

/// One for each layout of an answer.
private let requests: [WireRequest] = [
    .leader, .client(id: 1), .open(name: "x"), .prepare(database: 0, sql: "x"),
    .exec(database: 0, statement: 0, parameters: []), .query(database: 0, statement: 0, parameters: []),
    .finalize(database: 0, statement: 0), .dump(name: "x"), .cluster(format: .withRoles),
    .cluster(format: .withoutRoles),
    .describe, .weight(1),
]

private func wireMessages(_ pieces: [ArraySlice<UInt8>]) -> [WireMessage] {
    var reader = WireMessageReader(limit: 1 << 16)
    var messages: [WireMessage] = []
    for piece in pieces {
        reader.append(ByteBuffer(bytes: piece))
        do throws(DqliteError) {
            while let message = try reader.next() { messages.append(message) }
        } catch {
            return messages
        }
    }
    return messages
}
