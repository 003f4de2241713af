import Dispatch
import Platform
import Synchronization

/// Reads the kernel's neighbours beside the ownership's thread: a large table takes milliseconds.
///
/// It acts in the network namespace of the thread that created it.
final class NeighbourReader: Sendable {
    private let session: Mutex<NetlinkSession>
    private let queue = DispatchQueue(label: "vip.neighbours")

    init() throws(SystemError) {
        session = Mutex(try NetlinkSession())
    }

    /// Reads those of an interface and hands them to `body`, on a queue of its own. It does not wait.
    func read(
        _ families: Set<IPAddress.Family>, interface: UInt32,
        _ body: @escaping @Sendable (Result<NetlinkSession.Reading<Neighbour>, SystemError>) -> Void
    ) {
        queue.async { [self] in
            body(
                session.withLock { session in
                    Result { () throws(SystemError) in
                        var all = NetlinkSession.Reading<Neighbour>(found: [], isWhole: true)
                        for family in families {
                            let reading = try session.neighbours(family, interface: interface)
                            all.found += reading.found
                            all.isWhole = all.isWhole && reading.isWhole
                        }
                        return all
                    }
                })
        }
    }
}
