import Cluster
import Glibc
import Logging
import Platform
import ServiceLifecycle
import Synchronization

/// Looks at the file system of the data directory once a second, and takes the lead from a node whose disk is about to be full.
final class DiskWatch: Service {
    private let path: String
    private let logger: Logger
    private let state = Mutex(DiskState())
    private let cluster = Mutex<ClusterNode?>(nil)

    init(path: String, logger: Logger) {
        self.path = path
        self.logger = logger
        look()
    }

    func connect(_ cluster: ClusterNode) { self.cluster.withLock { $0 = cluster } }

    /// What the last look showed.
    var current: DiskState { state.withLock { $0 } }

    func run() async throws {
        try await cancelWhenGracefulShutdown { try await self.watch() }
    }

    /// Ends the daemon: what the database node could not write while the disk was read-only it does not make up for.
    struct NodeGaveUp: Error, CustomStringConvertible {
        var description: String {
            "the database node has given up while the disk could not be written: the daemon is started again"
        }
    }

    private func watch() async throws {
        var quietUntil = BootClock.now
        var (wasReadOnly, deafLooks) = (false, 0)
        while !Task.isCancelled {
            let before = current
            // A disk that hangs must not take a thread of the pool with it.
            try? await BlockingThread.run(named: "disk") { self.look() }
            let now = current
            if now.level != before.level { tell(now) }
            wasReadOnly = wasReadOnly || now.isReadOnly
            if let cluster = cluster.withLock({ $0 }) {
                deafLooks = wasReadOnly && !now.isReadOnly && cluster.isDeaf ? deafLooks + 1 : 0
                if deafLooks >= 3 { throw NodeGaveUp() }
                await cluster.refuseWrites(now.level == .full ? now.reason : nil)
                if now.level != .sound, cluster.leads, BootClock.now >= quietUntil {
                    quietUntil = BootClock.now.advanced(by: .seconds(5))
                    await giveLead(cluster, now)
                }
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private func giveLead(_ cluster: ClusterNode, _ disk: DiskState) async {
        do {
            _ = try await cluster.failOver(to: nil)
        } catch {
            logger.warning(
                "the lead cannot be handed over, although this node's disk is \(disk.level)",
                metadata: ["error": "\(error)"])
        }
    }

    private func look() {
        let space: Result<FileSystemSpace, SystemError>
        do throws(SystemError) {
            space = .success(try FileSystemSpace(of: path))
        } catch {
            space = .failure(error)
        }
        state.withLock { $0.see(space, path: path) }
    }

    private func tell(_ disk: DiskState) {
        if let reason = disk.reason {
            logger.error("\(Logger.Message(stringLiteral: reason))")
        } else {
            logger.notice("the disk of the data directory has room again")
        }
    }
}
