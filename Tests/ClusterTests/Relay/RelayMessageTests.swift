import Lease
import NIOCore
import Platform
import Testing

@testable import Cluster

@Suite("What relays say to each other")
struct RelayMessageTests {
    private static let messages: [RelayMessage] = [
        .preface(ByteBuffer(string: "connect")),
        .frame(
            ByteBuffer(bytes: [UInt8](repeating: 7, count: 300)), sentAt: .init(nanoseconds: 12), wantsPromise: true),
        .frame(ByteBuffer(bytes: [1]), sentAt: .init(nanoseconds: .max), wantsPromise: false),
        .raw(ByteBuffer()), .said(.released(upTo: .init(nanoseconds: -5), successor: nil)),
        .said(.released(upTo: .init(nanoseconds: 5), successor: .max)),
        .said(.asked(term: .max, sentAt: .init(nanoseconds: 3))), .said(.stands(term: 7)), .said(.declined(term: 8)),
        .said(.acknowledged(term: 1 << 40, sentAt: .init(nanoseconds: 99))), .said(.silent(term: 3)),
    ]

    private static var stream: [UInt8] {
        var buffer = ByteBuffer()
        for message in messages { message.write(to: &buffer) }
        return Array(buffer.readableBytesView)
    }

    @Test("come out as they went in, however the stream is cut", arguments: [1, 2, 7, 23, 24, 25, 331, 10_000])
    func roundTrip(size: Int) throws {
        var reader = RelayMessage.Reader()
        var found: [RelayMessage] = []
        for start in stride(from: 0, to: Self.stream.count, by: size) {
            reader.append(ByteBuffer(bytes: Self.stream[start..<min(start + size, Self.stream.count)]))
            while let message = try reader.next() { found.append(message) }
        }
        #expect(found == Self.messages)
    }

    @Test("an unknown kind and a length beyond all reason are faults, the latter before the body is there")
    func faults() {
        var unknown = RelayMessage.Reader()
        unknown.append(ByteBuffer(bytes: [0, 0, 0, 0, 99] + [UInt8](repeating: 0, count: 19)))
        #expect(throws: RelayMessage.Reader.Failure.self) { try unknown.next() }
        var long = RelayMessage.Reader()
        long.append(ByteBuffer(bytes: [255, 255, 255, 255, 2] + [UInt8](repeating: 0, count: 19)))
        #expect(throws: RelayMessage.Reader.Failure.self) { try long.next() }
    }
}
