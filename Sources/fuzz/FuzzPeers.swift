import NIOCore

@testable import Cluster
@testable import Dqlite
@testable import Lease

/// Peer frames: any bytes give messages or an error, the same however they are cut, and a message that is written again is the
/// same message.
func fuzzPeer(_ bytes: [UInt8]) {
    let (content, pieces) = cut(bytes)
    let frames = peerFrames([content[...]])
    promise(frames == peerFrames(pieces), "cut, the stream has other frames")
    for frame in frames {
        survives(PortRequest.self, frame)
        survives(PortReply.self, frame)
    }
    // The frame's length is in the way of what changes its content.
    survives(PortRequest.self, content)
    survives(PortReply.self, content)
}

private func peerFrames(_ pieces: [ArraySlice<UInt8>]) -> [[UInt8]] {
    var reader = PeerFrameReader()
    var frames: [[UInt8]] = []
    for piece in pieces {
        reader.append(ByteBuffer(bytes: piece))
        do throws(PeerFrameReader.FrameTooLong) {
            while let frame = try reader.next() { frames.append(frame) }
        } catch {
            return frames
        }
    }
    return frames
}

private func survives<Message: Codable>(_ type: Message.Type, _ bytes: [UInt8]) {
    guard let message = try? PortCoding.decode(type, from: bytes), let written = try? PortCoding.encode(message) else {
        return
    }
    do {
        let again = try PortCoding.encode(try PortCoding.decode(type, from: written))
        promise(again == written, "\(type) is another one when it is written and read again")
    } catch {
        fatalError("broken: \(type) cannot be read when it is written again: \(error)")
    }
}

/// Messages of relays, and the raft frames in them: the same however they are cut, and the same when they are written again.
func fuzzRelay(_ bytes: [UInt8]) {
    let (content, pieces) = cut(bytes)
    let messages = relayMessages([content[...]])
    promise(messages == relayMessages(pieces), "cut, the stream has other messages")
    var written = ByteBuffer()
    for message in messages {
        message.write(to: &written)
        guard case .frame(let bytes, _, _) = message, let frame = bytes.raftFrame else { continue }
        _ = RelayFrame(frame)
        _ = bytes.namedConfiguration(in: frame)
        _ = frame.lastPosition
    }
    promise(relayMessages([Array(written.readableBytesView)[...]]) == messages, "written again, they are others")
}

private func relayMessages(_ pieces: [ArraySlice<UInt8>]) -> [RelayMessage] {
    var reader = RelayMessage.Reader()
    var messages: [RelayMessage] = []
    for piece in pieces {
        reader.append(ByteBuffer(bytes: piece))
        do throws(RelayMessage.Reader.Failure) {
            while let message = try reader.next() { messages.append(message) }
        } catch {
            return messages
        }
    }
    return messages
}
