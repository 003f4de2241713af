import Platform
import Testing

@testable import Lab

/// The laboratory's own judgement: if it were wrong, every other test here would be.
@Suite("Laboratory: decoding and reckoning")
struct LabPureTests {
    private let vip = Network.vip

    private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

    private func event(_ milliseconds: Int64, _ node: Int, _ isPresent: Bool) -> Timeline.Event {
        Timeline.Event(
            time: at(milliseconds), node: node,
            change: AddressChange(
                address: vip, prefixLength: 24, interface: 2, isPresent: isPresent, validLifetime: 1))
    }

    @Test("an overlap is the time in which two nodes have the address, and a renewal is no new beginning")
    func overlap() {
        let timeline = Timeline(events: [
            event(10, 1, true), event(20, 1, true), event(30, 2, true), event(42, 1, false), event(50, 2, false),
            event(50, 3, true),
        ])
        #expect(timeline.overlap(of: vip, from: at(0), to: at(100)) == .milliseconds(12))
        #expect(timeline.overlap(of: vip, from: at(40), to: at(100)) == .milliseconds(2))
        #expect(timeline.overlap(of: vip, from: at(0), to: at(100), leavingOut: 2) == .zero)
        #expect(timeline.holders(of: vip) == [3])
        #expect(timeline.loss(of: vip, by: 1, after: at(25)) == at(42))
        #expect(timeline.loss(of: vip, by: 3, after: at(25)) == nil)
        #expect(timeline.gain(of: vip, by: 2, after: at(25)) == at(30))
    }

    @Test("two holders that both stay overlap until the end of the window")
    func endlessOverlap() {
        let timeline = Timeline(events: [event(10, 1, true), event(30, 2, true)])
        #expect(timeline.overlap(of: vip, from: at(0), to: at(100)) == .milliseconds(70))
        #expect(timeline.holders(of: vip) == [1, 2])
    }

    @Test("a return that was read together with the loss before it is a return")
    func sameTime() {
        let timeline = Timeline(events: [event(10, 1, true), event(30, 1, false), event(30, 1, true)])
        #expect(timeline.loss(of: vip, by: 1, after: at(20)) == at(30))
        #expect(timeline.gain(of: vip, by: 1, after: at(30)) == at(30))
        #expect(timeline.holders(of: vip) == [1])
    }

    @Test("a handing over in one instant is no overlap")
    func noOverlap() {
        let timeline = Timeline(events: [event(10, 1, true), event(30, 1, false), event(30, 2, true)])
        #expect(timeline.overlap(of: vip, from: at(0), to: at(100)) == .zero)
    }

    private func record(_ replies: [(Int64, Int)]) -> ProbeRecord {
        var record = ProbeRecord()
        record.replies = replies.map {
            ProbeRecord.Reply(sentAt: at($0.0), receivedAt: at($0.0), node: $0.1)
        }
        record.questions = (0...900).map { at(Int64($0)) }
        return record
    }

    @Test("the outage is the longest silence, the takeover ends with the first answer of another node")
    func failoverView() {
        var replies: [(Int64, Int)] = (0...210).map { ($0, 1) }
        replies += (451...900).map { ($0, 3) }
        let view = FailoverView(record(replies), fault: at(200), end: at(900))
        #expect(view.before == 1)
        #expect(view.after == 3)
        #expect(view.outage == .milliseconds(241))
        #expect(view.takeover == .milliseconds(251))
        #expect(view.changes == 1)
        #expect(!view.isOpen)
        #expect(view.lost == 701 - 11 - 450)
    }

    @Test("a VIP that nobody answers for any more is an open outage without a takeover")
    func openOutage() {
        let view = FailoverView(record((0...210).map { ($0, 2) }), fault: at(200), end: at(2000))
        #expect(view.takeover == nil)
        #expect(view.isOpen)
        #expect(view.outage == .milliseconds(1790))
    }

    @Test("an address message is decoded, and no bytes whatever make the decoder trap")
    func addressMessages() {
        let message: [UInt8] = [
            48, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // length 48, RTM_NEWADDR
            2, 24, 0, 0, 7, 0, 0, 0,  // AF_INET, /24, interface 7
            8, 0, 2, 0, 10, 42, 0, 100,  // IFA_LOCAL
            16, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9, 9,  // IFA_CACHEINFO: preferred 0 s, valid 1 s
        ]
        let expected = AddressChange(
            address: vip, prefixLength: 24, interface: 7, isPresent: true, validLifetime: 1)
        #expect(AddressMessages.decode(message) == [expected])
        #expect(AddressMessages.decode(message + message).count == 2)
        for length in message.indices { #expect(AddressMessages.decode(Array(message[..<length])).isEmpty) }
        var random = SystemRandomNumberGenerator()
        for index in message.indices {
            for _ in 0..<50 {
                var bytes = message
                bytes[index] = UInt8.random(in: .min ... .max, using: &random)
                _ = AddressMessages.decode(bytes)
            }
        }
    }

    @Test("an ARP announcement is recognised, a question about an address is not one")
    func arpFrames() throws {
        let hardware: [UInt8] = [2, 0, 0, 0, 0, 9]
        let frame = ARPFrame.announcement(of: vip, at: hardware, .reply)
        #expect(frame.count == 42)
        let decoded = try #require(ARPFrame(frame: frame))
        #expect(decoded.isGratuitous)
        #expect(decoded.operation == .reply)
        #expect(decoded.senderHardware == hardware)
        var question = frame
        question[31] = 5
        #expect(ARPFrame(frame: question)?.isGratuitous == false)
        for length in frame.indices { #expect(ARPFrame(frame: Array(frame[..<length])) == nil) }
    }

    @Test("HTTP answers are taken with a length, in chunks, and cut ones are refused")
    func http() throws {
        let plain = try HTTPExchange.parse(
            Array("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX-A: b\r\n\r\nOK".utf8))
        #expect(plain.status == 202)
        #expect(plain.text == "OK")
        #expect(plain.headers["x-a"] == "b")
        let chunked = try HTTPExchange.parse(
            Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n".utf8))
        #expect(chunked.text == "abcd")
        for cut in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK",
            "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "",
        ] {
            #expect(throws: LabError.self) { try HTTPExchange.parse(Array(cut.utf8)) }
        }
    }
}
