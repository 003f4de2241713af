import Logging
import Platform

/// The threads that carry raft through this process, and what they get of its processors.
///
/// Confined to the thread that looks.
struct RaftThreads {
    /// The relay's event loop, which passes each message, and what stands for the others.
    private static let relay = "NIO-ELT-"
    private static let all = [relay, "dqlite-node", "leadership"]

    private let logger: Logger
    private var demand: RealTimeDemand
    private var isRealTime = false
    private var watched: Int32?
    private var last: (waited: Duration, at: BootInstant)?
    private var hasFailed = false

    init(logger: Logger, now: BootInstant) {
        self.logger = logger
        demand = RealTimeDemand(startingAt: now)
    }

    mutating func look(now: BootInstant) {
        if let last, last.at.duration(to: now) < RealTimeDemand.interval { return }
        if watched == nil { watched = ThreadTable.threads(named: [Self.relay]).first }
        guard let watched, let waited = ThreadTable.waited(watched) else { return }
        let since = last.map { waited - $0.waited } ?? .zero
        last = (waited, now)
        let wanted = demand.look(waited: since, now: now)
        guard wanted != isRealTime else { return }
        isRealTime = wanted
        set(since)
    }

    private mutating func set(_ waited: Duration) {
        let isSet = ThreadTable.threads(named: Self.all).map { ThreadPriority.setRealTime(isRealTime, thread: $0) }
        guard isRealTime else {
            return logger.debug("the threads that carry raft are not real-time any more")
        }
        // The start: nobody has waited yet.
        guard waited > .zero else { return }
        if isSet.contains(true) {
            logger.info(
                "the processors are busy: the threads that carry raft are real-time",
                metadata: ["waited.ms": "\(waited.inMilliseconds)", "for.s": "\(demand.hold.components.seconds)"])
        } else if !hasFailed {
            hasFailed = true
            logger.warning(
                "the processors are busy, and the threads that carry raft cannot be real-time: give the daemon CAP_SYS_NICE",
                metadata: ["waited.ms": "\(waited.inMilliseconds)"])
        }
    }
}
