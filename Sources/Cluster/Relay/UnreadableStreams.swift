import NIOCore
import Platform

/// Raft streams that this version cannot read: passed on as they are, but not before every promise is over.
///
/// Confined to the relay's event loop.
final class UnreadableStreams {
    /// More pieces than a stream of raft has in the time for which they are kept back.
    private static let most = 4096

    private var links: Set<ObjectIdentifier> = []
    private var held: [(link: OutboundLink, bytes: ByteBuffer)] = []
    private var timer: Scheduled<Void>?
    private let closedUntil: () -> BootInstant
    private let schedule: (BootInstant, @escaping () -> Void) -> Scheduled<Void>?

    /// - Parameters:
    ///   - closedUntil: until when votes are kept back.
    ///   - schedule: does something at an instant, on the event loop.
    init(
        closedUntil: @escaping () -> BootInstant,
        schedule: @escaping (BootInstant, @escaping () -> Void) -> Scheduled<Void>?
    ) {
        self.closedUntil = closedUntil
        self.schedule = schedule
    }

    var count: Int { links.count }
    var isEmpty: Bool { links.isEmpty }

    /// - Returns: whether that is news.
    func add(_ link: AnyObject) -> Bool { links.insert(ObjectIdentifier(link)).inserted }

    /// - Returns: whether it was one.
    func remove(_ link: AnyObject) -> Bool { links.remove(ObjectIdentifier(link)) != nil }

    func send(_ bytes: ByteBuffer, on link: OutboundLink) {
        let now = BootClock.now
        guard held.isEmpty, now >= closedUntil() else {
            held.append((link, bytes))
            // It is given up rather than memory.
            if held.count > Self.most {
                held.removeAll { $0.link === link }
                link.reset()
            }
            return wait(until: max(closedUntil(), now))
        }
        link.write(.raw(bytes))
    }

    private func wait(until instant: BootInstant) {
        guard timer == nil else { return }
        timer = schedule(instant) { [self] in
            timer = nil
            guard BootClock.now >= closedUntil() else { return wait(until: closedUntil()) }
            let passed = held
            held = []
            for (link, bytes) in passed { link.write(.raw(bytes)) }
        }
    }

    func close() {
        timer?.cancel()
        held = []
    }
}
