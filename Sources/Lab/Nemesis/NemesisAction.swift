import Platform

/// One thing that is done to a laboratory. The nodes are numbered from 1.
public enum NemesisAction: Equatable, Sendable {
    /// Which processes of the product on a node.
    public enum Target: String, Sendable, CaseIterable {
        case daemon, guardProcess, both
    }

    case kill(Target, node: Int)
    case stop(Target, node: Int)
    /// A debugger holds every thread of the daemon: no signal, and nobody is told.
    case debug(node: Int)
    /// The debugger lets go.
    case detach(node: Int)
    /// SIGCONT to everything on the node.
    case resume(node: Int)
    /// SIGTERM, the end of all its processes, and a new start.
    case restart(node: Int)
    /// A new start of a node whose processes have ended, or are ended now.
    case revive(node: Int)
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
    /// So many loops that never wait, each at nice -15; they end by themselves.
    case starveProcessors(loops: Int, Duration)
    /// So many writers that wait for the disk after each block; they end by themselves.
    case starveDisk(writers: Int, Duration)
    /// Waits until all nodes are one formed cluster.
    case awaitFormation
}

extension NemesisAction {
    /// Puts something right.
    public var isRelief: Bool {
        switch self {
        case .resume, .detach, .revive, .freeDisk, .link(_, up: true), .wallClock(_, seconds: 0): true
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
        case .restart(let node): "SIGTERM and start of node \(node)"
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
        case .starveProcessors(let loops, let time): "\(loops) busy loops for \(time.inMilliseconds) ms"
        case .starveDisk(let writers, let time): "\(writers) fsync writers for \(time.inMilliseconds) ms"
        case .awaitFormation: "cluster whole again"
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
