import Glibc
import NIOCore
import NIOPosix
import Platform

/// Connects to the cluster ports of other hosts to learn from their kernels whether a process is there.
///
/// Confined to one event loop.
struct HostInquiry {
    /// What a kernel says to who connects.
    enum Answer {
        case accepted
        /// Nobody listens there. A name may have several addresses: all of them have refused.
        case refused
        /// One address of several has refused; of the others nothing is known.
        case partlyRefused
        case none

        /// Somebody is there: it took the connection, or its kernel refused it.
        var isHeard: Bool { self != .none }
    }

    let loop: any EventLoop
    /// How long an answer is waited for.
    let limit: Duration

    func ask(_ address: HostPort, _ body: @escaping (Answer) -> Void) {
        let bootstrap = ClientBootstrap(group: loop).connectTimeout(.nanoseconds(limit.inNanoseconds))
        // An address needs no resolver, which would cost a thread's time.
        let attempt =
            if let socketAddress = try? SocketAddress(ipAddress: address.host, port: Int(address.port)) {
                bootstrap.connect(to: socketAddress)
            } else {
                bootstrap.connect(host: address.host, port: Int(address.port))
            }
        attempt.hop(to: loop).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                channel.close(promise: nil)
                body(.accepted)
            case .failure(let error): body(Self.answer(error))
            }
        }
    }

    private static func answer(_ error: any Error) -> Answer {
        guard let error = error as? NIOConnectionError else { return isRefusal(error) ? .refused : .none }
        let refusals = error.connectionErrors.count { isRefusal($0.error) }
        return refusals == 0 ? .none : refusals == error.connectionErrors.count ? .refused : .partlyRefused
    }

    /// Refused, and not merely unanswered: only a kernel without a listener does that.
    private static func isRefusal(_ error: any Error) -> Bool { (error as? IOError)?.errnoCode == ECONNREFUSED }
}
