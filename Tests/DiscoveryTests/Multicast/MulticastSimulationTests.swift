import Platform
import Testing

@testable import Discovery

/// Several cores on one LAN that loses, delays and repeats datagrams. Each looks up every 500 ms while it has not found all.
private struct SimulatedLAN {
    struct Delivery {
        var at: Int
        var to: Int
        var from: Int
        var bytes: [UInt8]
    }

    var nodes: [CoreUnderTest]
    var startsAt: [Int]
    var lossPercent: Int
    var dice: Dice
    var deliveries: [Delivery] = []
    /// What each look-up found last, by node; and when it first found all others.
    var found: [Set<HostPort>]
    var completeAt: [Int?]
    var sent = 0
    var now = 0

    init(nodes count: Int, startsAt: [Int], lossPercent: Int, seed: UInt64) {
        nodes = (1...count).map { CoreUnderTest(secret: "s", seed: seed &* 1000 &+ UInt64($0)) }
        self.startsAt = startsAt
        self.lossPercent = lossPercent
        dice = Dice(seed: seed)
        found = [Set<HostPort>](repeating: [], count: count)
        completeAt = [Int?](repeating: nil, count: count)
    }

    private mutating func carry(out directives: [MulticastDirective], of node: Int) {
        for directive in directives {
            switch directive {
            case .send(let bytes):
                sent += 1
                for receiver in nodes.indices {
                    // Its own come back by the kernel, which loses nothing.
                    let copies =
                        receiver == node
                        ? 1
                        : Int.random(in: 0..<100, using: &dice) < lossPercent
                            ? 0 : Int.random(in: 0..<20, using: &dice) == 0 ? 2 : 1
                    for _ in 0..<copies {
                        let delay = Int.random(in: 0...5, using: &dice)
                        deliveries.append(Delivery(at: now + delay, to: receiver, from: node, bytes: bytes))
                    }
                }
            case .found(let addresses, _):
                found[node] = Set(addresses)
                if addresses.count == nodes.count - 1, completeAt[node] == nil { completeAt[node] = now }
            case .note: break
            }
        }
    }

    /// When something happens next, not before `now`.
    private var next: Int {
        var next = deliveries.map(\.at).min() ?? .max
        for node in nodes.indices {
            let since = now - startsAt[node]
            if since <= 0 {
                next = min(next, startsAt[node])
            } else {
                if completeAt[node] == nil { next = min(next, startsAt[node] + (since + 499) / 500 * 500) }
                if let deadline = nodes[node].core.nextDeadline {
                    next = min(
                        next, Int((BootInstant.at(0).duration(to: deadline).inNanoseconds + 999_999) / 1_000_000))
                }
            }
        }
        return max(next, now)
    }

    /// Runs to a moment, or until every node has found all others.
    mutating func run(to end: Int, stopsWhenComplete: Bool = true) {
        while next < end, !(stopsWhenComplete && completeAt.allSatisfy { $0 != nil }) {
            now = next
            for node in nodes.indices where now >= startsAt[node] {
                nodes[node].now = now
                if now == startsAt[node] { carry(out: nodes[node].handle(.announce(.test(node + 1))), of: node) }
                if (now - startsAt[node]).isMultiple(of: 500), completeAt[node] == nil {
                    carry(out: nodes[node].handle(.lookUp), of: node)
                }
                if let deadline = nodes[node].core.nextDeadline, deadline <= .at(now) {
                    carry(out: nodes[node].handle(.tick), of: node)
                }
            }
            let due = deliveries.filter { $0.at <= now }
            deliveries.removeAll { $0.at <= now }
            for delivery in due where now >= startsAt[delivery.to] {
                let directives = nodes[delivery.to].hear(delivery.bytes, from: delivery.from + 1)
                carry(out: directives, of: delivery.to)
            }
            now += 1
        }
    }
}

@Suite("multicast: several nodes on a simulated LAN")
struct MulticastSimulationTests {
    @Test("without loss all find all in the first look-up of the last one", arguments: 2...5)
    func lossless(count: Int) {
        for seed in 1...10 as ClosedRange<UInt64> {
            var dice = Dice(seed: seed)
            let starts = (0..<count).map { _ in Int.random(in: 0...1500, using: &dice) }
            let last = starts.max() ?? 0
            var lan = SimulatedLAN(nodes: count, startsAt: starts, lossPercent: 0, seed: seed)
            lan.run(to: last + 1000)
            for node in 0..<count {
                // The last one asks and has its answers; the others hear it ask, ask at once, and tell at the end of
                // their next look-up.
                let limit = starts[node] == last ? 100 : 500 + 100
                #expect((lan.completeAt[node] ?? .max) <= last + limit, "seed \(seed), node \(node)")
            }
        }
    }

    @Test("with three datagrams of ten lost all find all within some look-ups", arguments: 2...5)
    func lossy(count: Int) {
        for seed in 1...10 as ClosedRange<UInt64> {
            var lan = SimulatedLAN(
                nodes: count, startsAt: (0..<count).map { $0 * 130 }, lossPercent: 30, seed: seed)
            lan.run(to: 6000)
            for node in 0..<count { #expect(lan.completeAt[node] != nil, "seed \(seed), node \(node)") }
            let everybody = Set((1...count).map { MulticastRecord.test($0).address })
            for node in 0..<count {
                #expect(lan.found[node] == everybody.subtracting([MulticastRecord.test(node + 1).address]))
            }
        }
    }

    @Test("nodes that look for nobody say nothing")
    func silence() {
        var lan = SimulatedLAN(nodes: 5, startsAt: [0, 0, 0, 0, 0], lossPercent: 0, seed: 7)
        lan.run(to: 2000, stopsWhenComplete: false)
        #expect(lan.completeAt.allSatisfy { $0 != nil })
        let before = lan.sent
        lan.run(to: 60_000, stopsWhenComplete: false)
        #expect(lan.sent == before)
    }

    @Test("the datagrams that a formation takes do not grow with the square of the nodes")
    func traffic() {
        var lan = SimulatedLAN(nodes: 20, startsAt: [Int](repeating: 0, count: 20), lossPercent: 0, seed: 8)
        lan.run(to: 3000, stopsWhenComplete: false)
        #expect(lan.completeAt.allSatisfy { $0 != nil })
        #expect(lan.sent / 20 <= 30)
    }
}
