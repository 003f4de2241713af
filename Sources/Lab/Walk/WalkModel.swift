/// One thing that happens to a cluster.
public enum WalkStep: Sendable, Hashable, CustomStringConvertible {
    /// Ways to be cut off.
    public enum Cut: String, CaseIterable, Sendable {
        case carrier = "without carrier"
        case silent = "in silence"
        /// It hears the others, and they do not hear it.
        case mute = "one way"
    }

    /// SIGTERM.
    case stop(Int)
    /// SIGKILL to all processes.
    case kill(Int)
    case start(Int)
    /// Killed, and started again without its data.
    case wipe(Int)
    /// Removed from the cluster, stopped when it knows, and started again without its data.
    case replace(Int)
    /// Stopped or killed, and started again at another address.
    case move(Int, orderly: Bool)
    /// All members killed, and started again, each at another address.
    case moveAll
    case cut(Int, Cut)
    case heal(Int)
    /// The node's own address is taken away for a moment.
    case flap(Int)
    /// All members killed and started again.
    case blackOut
    /// Another VIP is set through a node.
    case configure(Int)

    public var description: String {
        switch self {
        case .stop(let node): "stop node \(node)"
        case .kill(let node): "kill node \(node)"
        case .start(let node): "start node \(node)"
        case .wipe(let node): "wipe node \(node)"
        case .replace(let node): "remove node \(node), and let it join anew"
        case .move(let node, let orderly): "move node \(node), \(orderly ? "stopped" : "killed")"
        case .moveAll: "move all nodes"
        case .cut(let node, let cut): "cut node \(node) off \(cut.rawValue)"
        case .heal(let node): "heal node \(node)"
        case .flap(let node): "take the address of node \(node) away for a moment"
        case .blackOut: "kill all nodes, and start them again"
        case .configure(let node): "set another VIP through node \(node)"
        }
    }
}

/// What may happen next: everything that the cluster must survive, and nothing else. All its members are voters.
///
/// A value type; the same seed gives the same walk.
public struct WalkModel: Sendable {
    public enum Trouble: Sendable, Hashable {
        case down
        case cut(WalkStep.Cut)
    }

    public let count: Int
    /// Nodes of which the cluster has nothing at the moment.
    public private(set) var troubled: [Int: Trouble] = [:]
    private var generator: SeededGenerator

    /// `count`: of nodes, 3...7.
    public init(count: Int, seed: UInt64) {
        self.count = count
        generator = SeededGenerator(seed: seed)
    }

    /// So many can be missing, and the others go on.
    public var spare: Int { (count - 1) / 2 }

    /// Nodes that are up and connected.
    public var present: [Int] { (1...count).filter { troubled[$0] == nil } }

    /// Draws the next step, and takes it as done.
    public mutating func next() -> WalkStep {
        var choices: [(weight: Int, step: WalkStep)] = []
        for (node, trouble) in troubled.sorted(by: { $0.key < $1.key }) {
            choices.append((6, trouble == .down ? .start(node) : .heal(node)))
        }
        for node in present {
            choices.append((1, .configure(node)))
            // One more is missing for a while, a wiped one until it is added anew.
            guard troubled.count < spare else { continue }
            choices += [(2, .stop(node)), (2, .kill(node)), (2, .wipe(node)), (1, .flap(node)), (1, .replace(node))]
            choices += [(2, .move(node, orderly: Bool.random(using: &generator)))]
            choices += WalkStep.Cut.allCases.map { (1, .cut(node, $0)) }
        }
        if troubled.isEmpty { choices += [(2, .blackOut), (2, .moveAll)] }
        var point = Int.random(in: 0..<choices.reduce(0) { $0 + $1.weight }, using: &generator)
        for choice in choices {
            point -= choice.weight
            if point < 0 {
                note(choice.step)
                return choice.step
            }
        }
        return .configure(present[0])
    }

    /// The steps that put everything right.
    public mutating func relief() -> [WalkStep] {
        let steps = troubled.sorted { $0.key < $1.key }.map {
            $0.value == .down ? WalkStep.start($0.key) : .heal($0.key)
        }
        troubled = [:]
        return steps
    }

    private mutating func note(_ step: WalkStep) {
        switch step {
        case .stop(let node), .kill(let node): troubled[node] = .down
        case .cut(let node, let cut): troubled[node] = .cut(cut)
        case .start(let node), .heal(let node): troubled[node] = nil
        case .wipe, .replace, .move, .moveAll, .flap, .blackOut, .configure: break
        }
    }
}
