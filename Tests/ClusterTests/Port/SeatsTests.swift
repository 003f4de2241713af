import Platform
import Testing

@testable import Cluster

@Suite("the seats at the cluster port")
struct SeatsTests {
    private final class Named {}
    private let names = (0..<20).map { _ in Named() }
    private static func at(_ seconds: Int64) -> BootInstant { BootInstant(nanoseconds: seconds * 1_000_000_000) }
    private static func host(_ text: String) -> SourceAddress { SourceAddress(stranger: IPAddress(text)) }

    private func enter(
        _ seats: inout Seats<Int>, _ number: Int, _ source: String, isMember: Bool = false, at time: Int64
    ) -> String {
        switch seats.enter(
            ObjectIdentifier(names[number]), number, from: Self.host(source), isMember: isMember, now: Self.at(time))
        {
        case .seated(nil): "seated"
        case .seated(let evicted?): "instead of \(evicted)"
        case .full: "full"
        }
    }

    @Test("at the bound of one source its own longest waiting makes room, and who is served never does")
    func source() {
        var seats = Seats<Int>(limits: .init(most: 10, mostOfOne: 2, kept: 0))
        #expect(enter(&seats, 0, "10.0.0.1", at: 0) == "seated")
        #expect(enter(&seats, 1, "10.0.0.1", at: 1) == "seated")
        #expect(enter(&seats, 2, "10.0.0.2", at: 2) == "seated")
        #expect(enter(&seats, 3, "10.0.0.1", at: 3) == "instead of 0")
        seats.serves(ObjectIdentifier(names[1]))
        #expect(enter(&seats, 4, "10.0.0.1", at: 4) == "instead of 3")
        seats.serves(ObjectIdentifier(names[4]))
        #expect(enter(&seats, 5, "10.0.0.1", at: 5) == "full")
        seats.waits(ObjectIdentifier(names[4]), now: Self.at(6))
        seats.waits(ObjectIdentifier(names[1]), now: Self.at(7))
        #expect(enter(&seats, 5, "10.0.0.1", at: 8) == "instead of 4")
    }

    @Test("strangers never fill the seats that are kept for members, and members push out strangers first")
    func kept() {
        var seats = Seats<Int>(limits: .init(most: 4, mostOfOne: 4, kept: 2))
        #expect(enter(&seats, 0, "10.0.0.1", at: 0) == "seated")
        #expect(enter(&seats, 1, "10.0.0.2", at: 1) == "seated")
        #expect(enter(&seats, 2, "10.0.0.3", at: 2) == "instead of 0")
        #expect(enter(&seats, 3, "10.0.1.1", isMember: true, at: 3) == "seated")
        #expect(enter(&seats, 4, "10.0.1.2", isMember: true, at: 4) == "seated")
        #expect(enter(&seats, 5, "10.0.1.3", isMember: true, at: 5) == "instead of 1")
        #expect(enter(&seats, 6, "10.0.1.3", isMember: true, at: 6) == "instead of 2")
        #expect(enter(&seats, 7, "10.0.0.9", at: 7) == "full", "a stranger pushes out no member")
        seats.leave(ObjectIdentifier(names[3]))
        #expect(enter(&seats, 7, "10.0.0.9", at: 8) == "seated")
    }

    @Test("an IPv6 host is its network of 64 bits, and an IPv4 one in IPv6 form is the IPv4 one")
    func sources() throws {
        #expect(Self.host("2001:db8::1") == Self.host("2001:db8::ffff:2"))
        #expect(Self.host("2001:db8::1") != Self.host("2001:db8:0:1::1"))
        #expect(Self.host("192.0.2.1") != Self.host("192.0.2.2"))
        #expect(try #require(IPAddress("::ffff:192.0.2.1")).unmapped == IPAddress("192.0.2.1"))
        let one = try #require(IPAddress("2001:db8::1"))
        #expect(SourceAddress(host: one) != SourceAddress(stranger: one))
        #expect(SourceAddress(stranger: nil).description == "unknown")
    }
}
