/// What the switch drops, as nftables rules in its namespace; see nft(8). Both ends of every wire keep their carrier, and
/// nobody is told.
public struct TrafficRules: Equatable, Sendable {
    /// From one port of the switch to another; the client has port 0.
    public struct Way: Hashable, Sendable {
        public var from: Int
        public var to: Int

        public init(from: Int, to: Int) {
            self.from = from
            self.to = to
        }
    }

    /// Nothing passes this way.
    public var closed: Set<Way> = []
    /// Out of a hundred frames between two of the nodes, so many are dropped at random; 0...99.
    public var loss = 0

    public init() {}

    /// Nothing passes between the groups, in neither direction; within a group all does.
    public static func partition(_ groups: [[Int]]) -> TrafficRules {
        var rules = TrafficRules()
        for (index, group) in groups.enumerated() {
            for other in groups[..<index] {
                for a in group {
                    for b in other { rules.closed.formUnion([Way(from: a, to: b), Way(from: b, to: a)]) }
                }
            }
        }
        return rules
    }

    /// Every node, 1...count, sees itself and its two neighbours in a ring, and no two see the same.
    public static func ring(of count: Int) -> TrafficRules {
        var rules = TrafficRules()
        for a in 1...count {
            for b in 1...count where a != b {
                let distance = (a - b + count) % count
                if distance != 1 && distance != count - 1 { rules.closed.insert(Way(from: a, to: b)) }
            }
        }
        return rules
    }

    static let table = "bridge dvlab"

    /// For `nft`: replaces all rules at once.
    func script(nodes: ClosedRange<Int>) -> String {
        // Added first, because what is not there cannot be deleted.
        var lines = ["add table \(Self.table)", "delete table \(Self.table)"]
        if closed.isEmpty && loss == 0 { return lines.joined(separator: "\n") }
        lines += [
            "add table \(Self.table)",
            "add chain \(Self.table) ways { type filter hook forward priority 0 ; }",
        ]
        for way in closed.sorted(by: { ($0.from, $0.to) < ($1.from, $1.to) }) {
            lines.append("add rule \(Self.table) ways iifname \"p\(way.from)\" oifname \"p\(way.to)\" drop")
        }
        if loss > 0 {
            let ports = nodes.map { "\"p\($0)\"" }.joined(separator: ", ")
            lines.append(
                "add rule \(Self.table) ways iifname { \(ports) } oifname { \(ports) } "
                    + "numgen random mod 100 < \(loss) drop")
        }
        return lines.joined(separator: "\n")
    }
}

extension Network {
    /// Replaces what the switch drops.
    public func apply(_ rules: TrafficRules) throws {
        try ToolCommand.check(["nft", rules.script(nodes: 1...servers.count)], in: switchNamespace)
    }
}
