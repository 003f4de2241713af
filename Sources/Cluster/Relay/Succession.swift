import Lease
import Logging
import Glibc
import NIOCore
import NIOPosix
import Platform

/// What a follower does from the end of its leader's connection to the next leader: it makes sure that the leader's
/// process is dead, waits for its turn, and tells its own node to stand, again and again until it has.
///
/// Confined to the relay's event loop.
final class Succession {
    /// How long a port may go on accepting after its process has died.
    private static let patience: Duration = .milliseconds(80)
    private static let interval: TimeAmount = .milliseconds(4)

    let leader: VoteGate.LeaderProcess
    private let term: UInt64
    private let loop: any EventLoop
    private let delay: Duration
    private let logger: Logger
    private let startedAt = BootClock.now
    private var timer: Scheduled<Void>?
    private var isOver = false
    private var injections = 0

    init(leader: VoteGate.LeaderProcess, term: UInt64, loop: any EventLoop, delay: Duration, logger: Logger) {
        self.leader = leader
        self.term = term
        self.loop = loop
        self.delay = delay
        self.logger = logger
    }

    /// - Parameters:
    ///   - address: the leader's cluster port.
    ///   - proof: called once, when the port refuses connections.
    ///   - inject: tells the local node to stand.
    func begin(probing address: HostPort, proof: @escaping () -> Void, inject: @escaping () -> Void) {
        guard !isOver else { return }
        let attempt = ClientBootstrap(group: loop).connectTimeout(.milliseconds(50))
            .connect(host: address.host, port: Int(address.port))
        attempt.hop(to: loop).assumeIsolated().whenComplete { [self] result in
            guard !isOver else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            switch result {
            case .failure(let error) where Self.isRefusal(error):
                proof()
                logger.notice(
                    "the leader's process is dead",
                    metadata: ["raft.leader_address": "\(address)", "raft.term": "\(term)"])
                schedule(.nanoseconds(delay.inNanoseconds)) { [self] in injectUntilStood(inject) }
            case .success(let channel):
                channel.close(promise: nil)
                again(address, proof, inject)
            case .failure:
                again(address, proof, inject)
            }
        }
    }

    private func again(_ address: HostPort, _ proof: @escaping () -> Void, _ inject: @escaping () -> Void) {
        guard startedAt.duration(to: BootClock.now) < Self.patience else { return stop() }
        schedule(Self.interval) { [self] in begin(probing: address, proof: proof, inject: inject) }
    }

    private func injectUntilStood(_ inject: @escaping () -> Void) {
        // A node with writes in flight ignores it, so it is said again.
        guard !isOver, injections < 100 else { return stop() }
        injections += 1
        inject()
        schedule(Self.interval) { [self] in injectUntilStood(inject) }
    }

    private func schedule(_ delay: TimeAmount, _ body: @escaping () -> Void) {
        timer?.cancel()
        timer = loop.assumeIsolated().scheduleTask(in: delay, body)
    }

    /// Refused, and not merely unanswered: only a kernel without a listener does that.
    private static func isRefusal(_ error: any Error) -> Bool {
        if let error = error as? NIOConnectionError {
            return error.connectionErrors.contains { isRefusal($0.error) }
        }
        return (error as? IOError)?.errnoCode == ECONNREFUSED
    }

    /// The local node stands.
    func stood(in term: UInt64) {
        if term > self.term { stop() }
    }

    /// Somebody leads.
    func heard(of leader: VoteGate.LeaderProcess, in term: UInt64) {
        if leader != self.leader || term > self.term { stop() }
    }

    func stop() {
        isOver = true
        timer?.cancel()
    }
}
