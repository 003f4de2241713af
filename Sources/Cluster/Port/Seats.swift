import Platform

/// Who may sit at the cluster port: so many connections of one kind in all, so many of one source, and some seats that only
/// members get. A value type without clock.
///
/// At a bound whoever has waited longest for his next request makes room, strangers before members: a stranger that holds many
/// seats crowds out himself, and a member finds one always.
struct Seats<Connection> {
    struct Limits: Sendable, Equatable {
        /// All together.
        var most: Int
        /// Of one source; see `SourceAddress`.
        var mostOfOne: Int
        /// So many of all are for members only.
        var kept: Int
    }

    private struct Seat {
        var id: ObjectIdentifier
        var connection: Connection
        var source: SourceAddress
        var isMember: Bool
        /// Since when it waits for a request; nil while one is being served.
        var waitsSince: BootInstant?
    }

    enum Entrance {
        /// There is a seat; the connection that has to make room for it is to be closed.
        case seated(evicted: Connection?)
        /// All seats are taken by such as have something to do.
        case full
    }

    private let limits: Limits
    private var seats: [Seat] = []

    init(limits: Limits) {
        self.limits = limits
    }

    var count: Int { seats.count }

    mutating func enter(
        _ id: ObjectIdentifier, _ connection: Connection, from source: SourceAddress, isMember: Bool, now: BootInstant
    ) -> Entrance {
        var evicted: Connection?
        if let reason = bound(source, isMember) {
            guard let index = longestWaiting(reason, source, isMember: isMember) else { return .full }
            evicted = seats.remove(at: index).connection
        }
        seats.append(Seat(id: id, connection: connection, source: source, isMember: isMember, waitsSince: now))
        return .seated(evicted: evicted)
    }

    /// A request has come, and is being served.
    mutating func serves(_ id: ObjectIdentifier) { update(id) { $0.waitsSince = nil } }

    /// It is answered, and the next one is waited for.
    mutating func waits(_ id: ObjectIdentifier, now: BootInstant) { update(id) { $0.waitsSince = now } }

    /// It has ended, or is something else now.
    mutating func leave(_ id: ObjectIdentifier) { seats.removeAll { $0.id == id } }

    private mutating func update(_ id: ObjectIdentifier, _ change: (inout Seat) -> Void) {
        guard let index = seats.firstIndex(where: { $0.id == id }) else { return }
        change(&seats[index])
    }

    // MARK: - Bounds

    private enum Bound { case source, strangers, all }

    private func bound(_ source: SourceAddress, _ isMember: Bool) -> Bound? {
        if seats.count(where: { $0.source == source }) >= limits.mostOfOne { return .source }
        if !isMember, seats.count(where: { !$0.isMember }) >= limits.most - limits.kept { return .strangers }
        return seats.count >= limits.most ? .all : nil
    }

    private func longestWaiting(_ bound: Bound, _ source: SourceAddress, isMember: Bool) -> Int? {
        let candidates = seats.indices.filter { index in
            guard seats[index].waitsSince != nil else { return false }
            switch bound {
            case .source: return seats[index].source == source
            case .strangers: return !seats[index].isMember
            // A member may fill all seats, and a stranger takes none from it.
            case .all: return isMember || !seats[index].isMember
            }
        }
        // Strangers first, and of them the one that has waited longest.
        return candidates.min { left, right in
            let (one, other) = (seats[left], seats[right])
            if one.isMember != other.isMember { return !one.isMember }
            return (one.waitsSince ?? .init(nanoseconds: .max)) < (other.waitsSince ?? .init(nanoseconds: .max))
        }
    }
}

/// Where a connection comes from, as one source.
struct SourceAddress: Sendable, Hashable, CustomStringConvertible {
    let description: String

    /// The very host.
    init(host: IPAddress) {
        description = host.description
    }

    /// What one stranger is: an IPv4 address, or an IPv6 network of 64 bits, of which any host has all addresses (RFC 7934).
    init(stranger: IPAddress?) {
        guard let stranger, stranger.family == .v6 else {
            description = stranger?.description ?? "unknown"
            return
        }
        description = "\(stranger.network(prefixLength: 64))/64"
    }
}
