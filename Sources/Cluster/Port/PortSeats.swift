import NIOCore
import Platform
import Synchronization

/// The seats of one kind of connection, and who sits there. From any thread.
final class PortSeats: Sendable {
    private let seats: Mutex<Seats<any Channel>>

    init(_ limits: Seats<any Channel>.Limits) {
        seats = Mutex(Seats(limits: limits))
    }

    /// Seats a connection until it ends or leaves; who has to make room for it is closed.
    ///
    /// - Returns: nil when there is no seat.
    func take(_ channel: any Channel, _ peer: PortPeer) -> PortSeat? {
        let id = ObjectIdentifier(channel)
        let entrance = seats.withLock {
            $0.enter(id, channel, from: peer.source, isMember: peer.isMember, now: BootClock.now)
        }
        guard case .seated(let evicted) = entrance else { return nil }
        evicted?.close(promise: nil)
        let seat = PortSeat(seats: self, id: id)
        channel.closeFuture.whenComplete { _ in seat.leave() }
        return seat
    }

    fileprivate func update(_ change: (inout Seats<any Channel>) -> Void) {
        seats.withLock { change(&$0) }
    }
}

/// One of them. From any thread.
struct PortSeat: Sendable {
    fileprivate let seats: PortSeats
    fileprivate let id: ObjectIdentifier

    /// A request is being served: its connection does not make room for others.
    func serves() { seats.update { $0.serves(id) } }
    /// Its next request is waited for, from now on.
    func waits() { seats.update { $0.waits(id, now: BootClock.now) } }
    /// It is bound by other limits from now on.
    func leave() { seats.update { $0.leave(id) } }
}

/// Who is at the other end of a connection, as far as its address says.
struct PortPeer: Sendable, Equatable {
    /// nil: the kernel did not tell, or it is no IP connection.
    var address: IPAddress?
    /// It is the address of a member. Where members come from other addresses than they advertise they are strangers here, and as
    /// long as nobody floods the port that costs them nothing.
    var isMember: Bool

    var source: SourceAddress {
        guard isMember, let address else { return SourceAddress(stranger: address) }
        return SourceAddress(host: address)
    }
}
