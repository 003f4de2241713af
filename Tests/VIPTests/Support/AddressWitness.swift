import CLinux
import Glibc
import Platform
import Synchronization

@testable import VIP

/// Sees an address come and go in several namespaces; one thread reads all, so that the order of times is the true one.
final class AddressWitness: Sendable {
    struct Change: Sendable, CustomStringConvertible {
        /// Which namespace, in the order of `init`.
        var place: Int
        var isSet: Bool
        var time: BootInstant
        var description: String { "\(isSet ? "set" : "gone") in \(place) at \(time.nanoseconds / 1000) µs" }
    }

    private let log = Mutex<[Change]>([])
    private let isOver = Flag()

    init(of address: VirtualAddress, in namespaces: [NetworkNamespace]) async throws {
        var sockets: [NetlinkSocket] = []
        for namespace in namespaces {
            sockets.append(
                try await namespace.run {
                    try NetlinkSocket(
                        groups: UInt32(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR), receiveBuffer: 1 << 20, timeout: nil)
                })
        }
        let watched = sockets
        try BlockingThread.start(named: "witness") { [weak self, isOver] in
            // A busy machine shall not make it see late.
            setpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(clinux_thread_id()), -15)
            var descriptors = watched.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            var buffer = [UInt8](repeating: 0, count: NetlinkSocket.receiveCapacity)
            while !isOver.isRaised {
                guard poll(&descriptors, nfds_t(descriptors.count), 100) > 0 else { continue }
                let now = BootClock.now
                for (place, socket) in watched.enumerated() where descriptors[place].revents != 0 {
                    for message in (try? socket.receive(into: &buffer)) ?? [] {
                        switch message.content {
                        case .newAddress(let found) where found.matches(address): self?.add(place, true, now)
                        case .deletedAddress(let found) where found.matches(address): self?.add(place, false, now)
                        default: break
                        }
                    }
                }
            }
        }
    }

    deinit { isOver.raise() }

    /// Everything seen so far, without renewals.
    var changes: [Change] { log.withLock { $0 } }

    private func add(_ place: Int, _ isSet: Bool, _ time: BootInstant) {
        log.withLock { log in
            if log.last(where: { $0.place == place })?.isSet != isSet {
                log.append(Change(place: place, isSet: isSet, time: time))
            }
        }
    }

    /// The next change of this kind at or after `start`.
    func next(_ place: Int, isSet: Bool, after start: BootInstant, within limit: Duration = .seconds(5)) async throws
        -> BootInstant
    {
        let end = BootClock.now.advanced(by: limit)
        while BootClock.now < end {
            if let found = changes.first(where: { $0.place == place && $0.isSet == isSet && $0.time >= start }) {
                return found.time
            }
            try await Task.sleep(for: .milliseconds(2))
        }
        throw DidNotHappen(description: "no such change within \(limit); seen: \(changes)")
    }
}
