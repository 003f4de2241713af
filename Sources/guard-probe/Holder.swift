import Glibc
import Logging
import Platform
import Synchronization
import VIP

/// A daemon that holds addresses under a lease which it extends like the relay does: by a thread of its own, every few
/// milliseconds, from then on.
final class Holder: Sendable {
    private let client: GuardClient
    private let directory: String
    private let interface: String
    private let isDeaf: Bool
    private let isEager: Bool
    private let length: Duration
    private let spins = Atomic<Bool>(false)

    init(client: GuardClient, directory: String, interface: String, mode: [String]) {
        self.client = client
        self.directory = directory
        self.interface = interface
        isDeaf = mode[0] == "deaf"
        isEager = mode[0] == "eager"
        length = .milliseconds(mode.count > 1 ? Int(mode[1]) ?? 400 : 400)
    }

    func run(_ addresses: [VirtualAddress]) throws {
        let cell = client.lease(.lead)
        var timing = OwnershipTiming()
        var schedule = AnnounceSchedule()
        if isEager {
            timing.refresh = .milliseconds(1)
            schedule = AnnounceSchedule(burst: [.zero], refresh: .milliseconds(1))
        }
        let ownership = try Ownership(
            interface: interface, cell: cell,
            lease: { [self] in
                while spins.load(ordering: .relaxed) {}
                return cell.lease
            },
            guardChannel: client, addressesFile: StoredFile("addresses", in: OpenDirectory(directory)), timing: timing,
            schedule: schedule,
            logger: Logger(label: "daemon"))
        try client.reportReady()
        try BlockingThread.start(named: "extend") { [self] in extend(cell) }
        Task { [self] in
            let running = Task { try await ownership.run() }
            await ownership.setDesired(addresses)
            for await _ in client.stopRequests where !isDeaf { break }
            running.cancel()
            _ = await running.result
            exit(0)
        }
    }

    private func extend(_ cell: LeaseCell) {
        let step = min(length / 4, .milliseconds(40))
        var last = BootClock.now
        var term: UInt64 = 1
        while true {
            if access(directory + "/spin", F_OK) == 0 {
                spins.store(true, ordering: .relaxed)
                for _ in 0..<8 { Task.detached { while true {} } }
                while true {}
            }
            // After a pause nothing that was sent before is good for an extension: it takes a while until others answer.
            if last.duration(to: BootClock.now) > length {
                usleep(500_000)
                term += 1
            }
            last = BootClock.now
            cell.extend(term: term, until: last.advanced(by: length))
            usleep(UInt32(step.inNanoseconds / 1000))
        }
    }
}
