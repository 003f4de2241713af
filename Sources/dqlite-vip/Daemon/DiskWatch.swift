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
        await cancelWhenGracefulShutdown { await self.watch() }
    }

    private func watch() async {
        var quietUntil = BootClock.now
        while !Task.isCancelled {
            let before = current
            // A disk that hangs must not take a thread of the pool with it.
            try? await BlockingThread.run(named: "disk") { self.look() }
            let now = current
            if now.level != before.level { tell(now) }
            if let cluster = cluster.withLock({ $0 }) {
                await cluster.refuseWrites(now.level == .full ? now.reason : nil)
                if now.level != .sound, cluster.leads, BootClock.now >= quietUntil {
                    quietUntil = BootClock.now.advanced(by: .seconds(5))
                    await giveLead(cluster, now)
                }
            }
            try? await BootClock.sleepUntilBeat()
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
