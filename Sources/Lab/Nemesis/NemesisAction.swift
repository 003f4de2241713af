import Platform

/// One thing that is done to a laboratory. The nodes are numbered from 1.
public enum NemesisAction: Equatable, Sendable {
    /// Which processes of the product on a node.
    public enum Target: String, Sendable, CaseIterable {
        case daemon, guardProcess, both
    }

    case kill(Target, node: Int)
    case stop(Target, node: Int)
    /// SIGTERM, and nobody waits for what comes of it.
    case terminate(node: Int)
    /// A debugger holds every thread of the daemon: no signal, and nobody is told.
    case debug(node: Int)
    /// The debugger lets go.
    case detach(node: Int)
    /// SIGCONT to everything on the node.
    case resume(node: Int)
    /// SIGTERM, the end of all its processes, and a new start.
    case restart(node: Int)
    /// The same of all nodes at once, by SIGTERM or by SIGKILL.
    case restartAll(orderly: Bool)
    /// A new start of a node whose processes have ended, or are ended now.
    case revive(node: Int)
    /// The end of a node by SIGTERM or SIGKILL, an empty disk, and a new start.
    case wipe(node: Int, orderly: Bool)
    /// The end of all nodes, empty disks, a new start, and the first answer that a client gets.
    case formAnew
    /// Somebody wants the lead handed over, and asks a node for it; nobody waits for the answer.
    case failOver(to: Successor, at: Int)
    /// SIGTERM to a node that leaves when it stops, and its end.
    case leave(node: Int)
    /// A node is taken out of the cluster by a request to another one, or to itself.
    case remove(node: Int, through: Int)
    /// A start of a node that is out of the cluster, on its old disk or an empty one.
    case join(node: Int, wiped: Bool)
    /// The switch's side of the cable goes down or up.
    case link(node: Int, up: Bool)
    case traffic(TrafficRules)
    case powerOff(node: Int)
    case deleteAddress(node: Int)
    case fillDisk(node: Int)
    /// Waits until the full disk has made itself felt: a write that failed, or the end of the process.
    case awaitFullDisk(node: Int)
    case freeDisk(node: Int)
    /// Moves the wall clock of the node's processes to so many seconds from the right time.
    case wallClock(node: Int, seconds: Int64)
    /// Lets the steady clocks of the node's processes run too fast by so many millionths, or too slow.
    case slew(node: Int, rate: Int64)
    /// So many loops that never wait, each at nice -15; they end by themselves.
    case starveProcessors(loops: Int, Duration)
    /// So many writers that wait for the disk after each block; they end by themselves.
    case starveDisk(writers: Int, Duration)
    /// Waits until all nodes are one formed cluster.
    case awaitFormation
    /// Waits until the node says that it is a voter of a formed cluster, and who leads it.
    case awaitMember(node: Int)
    /// Waits until one node has the VIP, and a client its answers.
    case awaitHolder
    /// Waits until nothing has changed for half a second.
    case awaitRest

    /// Who is to take the lead over.
    public enum Successor: Equatable, Sendable {
        case anybody
        case node(Int)
        /// So many nodes after the one that has the VIP at that moment, in a ring.
        case next(Int)
    }
}

extension NemesisAction {
    /// Puts something right.
    public var isRelief: Bool {
        switch self {
        case .resume, .detach, .revive, .freeDisk, .link(_, up: true), .wallClock(_, seconds: 0), .slew(_, rate: 0):
            true
        case .traffic(let rules): rules == TrafficRules()
        default: false
        }
    }
}

extension NemesisAction: CustomStringConvertible {
    public var description: String {
        switch self {
        case .kill(let target, let node): "kill -9 of \(target.words) of node \(node)"
        case .stop(let target, let node): "SIGSTOP of \(target.words) of node \(node)"
        case .debug(let node): "a debugger on the daemon of node \(node)"
        case .detach(let node): "the debugger leaves the daemon of node \(node)"
        case .resume(let node): "SIGCONT on node \(node)"
        case .terminate(let node): "SIGTERM to node \(node)"
        case .restart(let node): "SIGTERM and start of node \(node)"
        case .restartAll(let orderly): "\(orderly ? "SIGTERM" : "kill -9") and start of all nodes"
        case .wipe(let node, let orderly):
            "\(orderly ? "SIGTERM" : "kill -9") and start of node \(node) on an empty disk"
        case .formAnew: "all nodes start on empty disks"
        case .failOver(.anybody, let node): "failover, asked of node \(node)"
        case .failOver(.node(let other), let node): "failover to node \(other), asked of node \(node)"
        case .failOver(.next(let count), let node): "failover to the holder's neighbour \(count), asked of node \(node)"
        case .leave(let node): "node \(node) stops and leaves"
        case .remove(let node, let other): "node \(node) removed through node \(other)"
        case .join(let node, let wiped): "node \(node) joins\(wiped ? " on an empty disk" : "")"
        case .revive(let node): "start of node \(node)"
        case .link(let node, let up): "link of node \(node) \(up ? "up" : "down")"
        case .traffic(let rules):
            rules == TrafficRules()
                ? "all traffic passes"
                : "traffic dropped on \(rules.closed.count) ways"
                    + (rules.loss > 0 ? ", \(rules.loss) % lost between nodes" : "")
        case .powerOff(let node): "power off of node \(node)"
        case .deleteAddress(let node): "address deleted on node \(node)"
        case .fillDisk(let node): "disk of node \(node) full"
        case .awaitFullDisk(let node): "a write that fails on node \(node)"
        case .freeDisk(let node): "room on the disk of node \(node)"
        case .wallClock(let node, let seconds): "wall clock of node \(node) \(seconds >= 0 ? "+" : "")\(seconds) s"
        case .slew(let node, let rate): "clocks of node \(node) \(rate >= 0 ? "+" : "")\(rate) ppm"
        case .starveProcessors(let loops, let time): "\(loops) busy loops for \(time.inMilliseconds) ms"
        case .starveDisk(let writers, let time): "\(writers) fsync writers for \(time.inMilliseconds) ms"
        case .awaitFormation: "cluster whole again"
        case .awaitMember(let node): "node \(node) a voter"
        case .awaitHolder: "a holder that answers"
        case .awaitRest: "rest"
        }
    }
}

extension NemesisAction.Target {
    var words: String {
        switch self {
        case .daemon: "the daemon"
        case .guardProcess: "the guard"
        case .both: "daemon and guard"
        }
    }
}
