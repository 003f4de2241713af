import Dispatch
import Glibc
import Logging
import Platform
import ServiceLifecycle
import Synchronization

/// Holds the virtual addresses of one interface while this node leads, and lets go of them otherwise.
///
/// It runs on a thread of its own, and acts in the network namespace of the thread that created it. `OwnershipCore` decides;
/// this only carries out, with a look at the lease right before each system call.
public actor Ownership: Service {
    /// What happens to the addresses, in order; for one consumer. The newest 1024 wait for it.
    public nonisolated let events: AsyncStream<OwnershipEvent>
    /// The MACs under which this host answers on the interface, whenever they change: see `InterfaceMACs`. For one consumer,
    /// which gets the newest.
    public nonisolated let macs: AsyncStream<[HardwareAddress]>
    /// The name of the interface that carries the addresses.
    public nonisolated let interface: String

    private nonisolated let thread: OwnershipThread
    private nonisolated let kickedAt = Atomic<Int64>(0)
    private nonisolated let fileQueue = DispatchQueue(label: "vip.addresses")
    private let cell: LeaseCell
    private let lease: LeaseSource
    private let guardChannel: any AddressGuard
    private let addressesFile: StoredFile?
    /// Why the list could not be written the last time; empty when it could.
    private let listFault = Mutex("")
    private let logger: Logger
    private let eventsContinuation: AsyncStream<OwnershipEvent>.Continuation
    private let macsContinuation: AsyncStream<[HardwareAddress]>.Continuation
    private var knownMACs: [HardwareAddress]?
    /// The interface when they were read last.
    private var macsLink: LinkState?
    private let session: NetlinkSession
    private let monitor: NetlinkMonitor
    private let announcer: AddressAnnouncer
    private let early: EarlyDescriptors
    private let neighbourReader: NeighbourReader
    private let hint: LeadHintSource
    private let inquire: @Sendable () -> Void
    private var core: OwnershipCore
    /// There while the LAN is asked, and while addresses are held.
    private var prober: AddressProber?
    /// When the MACs of this host were read for it.
    private var ownReadAt = BootInstant(nanoseconds: 0)
    private var isRunning = false
    /// Whether the last survey was not interrupted each time.
    private var readsWhole = true
    /// The index of the interface for which `keepSecondaries` was done.
    private var knownIndex: UInt32?

    /// - Parameters:
    ///   - interface: the name of the interface that carries the addresses; it need not be there yet.
    ///   - cell: what the guard follows. Nothing is held longer than it says, or in another term.
    ///   - lease: see `LeaseSource`; nil for what the cell says.
    ///   - guardChannel: is told of each address before it is set.
    ///   - addressesFile: `<data-dir>/addresses`, where the addresses are listed before they are set; nil for no list.
    ///   - timing: the times; the defaults are those of production.
    ///   - schedule: when a held address is announced.
    ///   - neighbours: when known neighbours are told by a frame of their own; nil for never.
    ///   - hint: what is known of the lead beyond the lease.
    ///   - inquire: asks the host of the last holder; it must not block. The answer comes by `hint`, followed by `kick`.
    ///   - logger: for state changes at notice and worse; gets the interface as metadata.
    /// - Throws: `SystemError` when a socket or the thread cannot be had; EPERM without CAP_NET_RAW.
    public init(
        interface: String, cell: LeaseCell, lease: LeaseSource? = nil, guardChannel: any AddressGuard,
        addressesFile: StoredFile?, timing: OwnershipTiming = OwnershipTiming(),
        schedule: AnnounceSchedule = AnnounceSchedule(), neighbours: NeighbourSchedule? = NeighbourSchedule(),
        hint: @escaping LeadHintSource = { LeadHint() },
        inquire: @escaping @Sendable () -> Void = {}, logger: Logger
    ) throws(SystemError) {
        var logger = logger
        logger[metadataKey: "vip.interface"] = "\(interface)"
        self.logger = logger
        self.interface = interface
        self.cell = cell
        self.lease = lease ?? { cell.lease }
        self.hint = hint
        self.inquire = inquire
        self.guardChannel = guardChannel
        self.addressesFile = addressesFile
        session = try NetlinkSession()
        // Before the first reading of the state, so that no change is missed.
        monitor = try NetlinkMonitor()
        announcer = try AddressAnnouncer()
        // A socket for each family, and as many that are about to end.
        early = EarlyDescriptors(4)
        neighbourReader = try NeighbourReader()
        (events, eventsContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1024))
        (macs, macsContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        core = OwnershipCore(
            interface: interface, timing: timing, schedule: schedule, neighbours: neighbours, now: BootClock.now)
        thread = try OwnershipThread(named: "vip-ownership")
        thread.onWake { [weak self] in self?.assumeIsolated { $0.wake() } }
        cell.onChange { [weak self] in self?.kick() }
    }

    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// Holds addresses until the task is cancelled or the service group shuts down; all are released when it returns.
    ///
    /// - Throws: `SystemError` when the kernel's reports of changes end: then nobody would notice an address that was removed.
    public func run() async throws {
        isRunning = true
        react(.wake)
        let isOver = await withTaskExecutorPreference(thread) {
            await watch()
        }
        await releaseAll()
        eventsContinuation.finish()
        macsContinuation.finish()
        guard isOver else {
            throw SystemError(
                "follow the changes of addresses and interfaces", interface, errno: EPIPE,
                remedy: "see the kernel's log, and start dqlite-vip again")
        }
    }

    /// Tells that leadership changed: the lease is looked at now. From any thread; it costs a system call and never waits.
    public nonisolated func kick() {
        kickedAt.store(BootClock.now.nanoseconds, ordering: .releasing)
        thread.wake()
    }

    /// Announces the addresses that are held anew, by a whole burst: to be called when a partition healed, because hosts on
    /// its other side may never have heard that they moved. From any thread; it does not wait.
    public nonisolated func announceAgain() {
        thread.submit { self.assumeIsolated { $0.react(.announceAgain) } }
    }

    /// Sets which addresses this node shall hold while it leads. Calls take effect in their order. New addresses are set
    /// before those that are not named any more are deleted.
    ///
    /// It returns when the addresses are listed on disk and, as far as the lease allows, set and deleted.
    public nonisolated func setDesired(_ addresses: [VirtualAddress]) async {
        var seen = Set<VirtualAddress>()
        let distinct = addresses.filter { seen.insert($0).inserted }
        await withCheckedContinuation { continuation in
            fileQueue.async {
                let done = DispatchSemaphore(value: 0)
                // What is still set stays on the list until it is deleted.
                let before = Mutex<[VirtualAddress]>([])
                let after = Mutex<[VirtualAddress]>([])
                self.thread.submit {
                    self.assumeIsolated { ownership in before.withLock { $0 = ownership.core.placed } }
                    done.signal()
                }
                done.wait()
                self.list(before.withLock { $0 } + distinct)
                let isUndecided = Mutex(true)
                for attempt in 0..<25 where isUndecided.withLock({ $0 }) {
                    // The LAN is being asked for new addresses.
                    if attempt > 0 { usleep(4000) }
                    self.thread.submit {
                        self.assumeIsolated { ownership in
                            ownership.react(attempt == 0 ? .desired(distinct) : .wake)
                            after.withLock { $0 = ownership.core.placed }
                            isUndecided.withLock { $0 = ownership.core.isUndecided }
                        }
                        done.signal()
                    }
                    done.wait()
                }
                if !Set(before.withLock { $0 }).isSubset(of: distinct) { self.list(after.withLock { $0 } + distinct) }
                continuation.resume()
            }
        }
    }

    /// The state of the addresses at this moment.
    public func snapshot() -> OwnershipSnapshot { core.snapshot }

    /// Deletes all addresses, and holds none any more. It returns when they are gone, at the latest after a second.
    public func releaseAll() async {
        react(.releaseAll)
        let limit = BootClock.now.advanced(by: .seconds(1))
        while !core.placed.isEmpty && BootClock.now < limit {
            try? await Task.sleep(for: .milliseconds(10))
            react(.wake)
        }
    }

    // MARK: -

    /// Returns true after an orderly end, false when the kernel's reports ended by themselves.
    private func watch() async -> Bool {
        let isStopped = Mutex(false)
        await withTaskCancellationOrGracefulShutdownHandler {
            for await event in monitor.events where core.isNews(event) { react(.netlink(event)) }
        } onCancelOrGracefulShutdown: { [monitor] in
            isStopped.withLock { $0 = true }
            monitor.stop()
        }
        return isStopped.withLock { $0 }
    }

    private func wake() {
        let kicked = kickedAt.exchange(0, ordering: .acquiring)
        react(kicked == 0 ? .wake : .kicked(at: BootInstant(nanoseconds: kicked)))
    }

    /// The lease of this moment; none without a guard, for then nothing may be held, and none that the guard does not see.
    private func currentLease() -> Lease? {
        guard guardChannel.isPresent, let granted = lease(), let told = cell.lease, told.term == granted.term,
            told.end <= BootClock.now.advanced(by: LeasePage.horizon)
        else { return nil }
        return Lease(term: told.term, end: min(told.end, granted.end))
    }

    private func react(_ input: OwnershipCore.Input) {
        guard isRunning else {
            core.hint = hint()
            // Before `run` it is only noted what is wanted.
            switch input {
            case .desired, .releaseAll: _ = core.step(input, lease: nil, now: BootClock.now)
            case .wake, .kicked, .netlink, .announceAgain, .neighbours: break
            }
            return
        }
        var input = input
        var told: [OwnershipEvent] = []
        // Whoever takes the log or the events in is not waited for before everything else is done.
        defer { for event in told { tell(event) } }
        // Each round does what the one before made possible; a few are enough, and the rest waits for other work's sake.
        for _ in 0..<16 {
            core.hint = hint()
            listen()
            let (lease, now) = (currentLease(), BootClock.now)
            let directives = core.step(input, lease: lease, now: now)
            input = .wake
            if directives.isEmpty {
                // With what the step was told: were they read anew, the lease could have ended between the two, unseen.
                let next = core.nextWake(lease: lease, now: now)
                thread.arm(at: next, latest: max(next, core.latestWake(lease: lease, now: now)))
                if core.link != macsLink { tellMACs() }
                return
            }
            told += directives.compactMap { if case .event(let event) = $0 { event } else { nil } }
            var rest = directives[...]
            while let directive = rest.popFirst() {
                if case .announce = directive {
                    // Those of many addresses go out together.
                    let others = rest.prefix { if case .announce = $0 { true } else { false } }
                    rest = rest.dropFirst(others.count)
                    announce([directive] + others)
                    continue
                }
                perform(directive)
                // A call may take long: this process may be stopped in the middle of it. When the lease has ended meanwhile,
                // what was set is deleted before anything else.
                if case .set = directive, !core.isCovered(currentLease(), BootClock.now) { break }
            }
        }
        thread.wake()
    }

    /// Takes in what the LAN said, up to now.
    private func listen() {
        guard let prober else { return }
        let sightings = prober.received()
        let now = BootClock.now
        if !sightings.isEmpty, ownReadAt.duration(to: now) > .milliseconds(100) {
            // An interface of our own may have come, or changed its MAC. When that cannot be read, what is known counts.
            if let links = try? session.links() { prober.update(own: links) }
            ownReadAt = now
        }
        let isWhole = !prober.hasMissed
        for sighting in sightings where prober.isForeign(sighting) {
            core.heard(sighting, isWhole: isWhole, now: now)
        }
    }

    private func listen(for addresses: Set<VirtualAddress>, interface: UInt32) throws(SystemError) {
        if addresses.isEmpty {
            prober = nil
        } else {
            try prober(of: interface).listen(for: Set(addresses.map(\.address)))
        }
    }

    private func prober(of interface: UInt32) throws(SystemError) -> AddressProber {
        if let prober, prober.interface == interface { return prober }
        // What is missing here is there a tenth of a second later.
        let new = AddressProber(interface: interface, own: try session.presentLinks().found, early: early)
        ownReadAt = BootClock.now
        prober = new
        return new
    }

    private func perform(_ directive: OwnershipDirective) {
        // Told later.
        if case .event = directive { return }
        if case .set = directive { listen() }
        var wasSent = true
        do {
            let link = if case .tellNeighbours = directive { try presentLink() } else { LinkState?.none }
            // Immediately before the call that acts.
            guard core.permits(directive, lease: currentLease(), now: BootClock.now) else { return }
            switch directive {
            case .survey:
                let link = try session.link(named: interface)
                if let link, link.index != knownIndex { keepSecondaries(of: link) }
                let reading = try session.presentAddresses()
                core.observe(
                    link: link, addresses: reading.found, isWhole: reading.isWhole, now: BootClock.now)
                tellWholeness(reading.isWhole)
                // What is below a bond changes without the bond.
                macsLink = nil
            case .guardHold(let address, let interface):
                try guardChannel.hold(address, interface: interface, slot: cell.slot)
            case .set(let address, let interface, let setting):
                try set(address, interface, setting)
            case .probe(let address, let link):
                try prober(of: link.index).probe(address, on: link)
            case .inquire: inquire()
            case .listen(let addresses, let interface):
                try listen(for: addresses, interface: interface)
            case .readNeighbours(let families, let interface):
                neighbourReader.read(families, interface: interface) { [weak self] in self?.learnt($0) }
            case .tellNeighbours(let notices):
                if let link { wasSent = isSent(try announcer.announce(notices, on: link)) }
            case .delete(let address, let interface):
                try session.delete(address, interface: interface)
            case .guardRelease(let address, let interface):
                try guardChannel.release(address, interface: interface)
            case .event, .announce: break
            }
            core.completed(directive, wasSent: wasSent, now: BootClock.now)
        } catch {
            core.failed(directive, error, now: BootClock.now)
        }
    }

    /// Says it when it changes.
    private func tellWholeness(_ isWhole: Bool) {
        guard isWhole != readsWhole else { return }
        readsWhole = isWhole
        if isWhole {
            logger.notice("The addresses of this host can be read at one go again")
        } else {
            logger.warning(
                "Addresses or interfaces of this host change faster than they can be read: what was found counts, and they are read again"
            )
        }
    }

    /// Reads the MACs of the interface, and tells of them when they are others: when there is nothing else to do.
    private func tellMACs() {
        macsLink = core.link
        let macs = core.link.map(InterfaceMACs.read) ?? []
        guard macs != knownMACs else { return }
        knownMACs = macs
        macsContinuation.yield(macs)
    }

    private func tell(_ event: OwnershipEvent) {
        log(event)
        eventsContinuation.yield(event)
    }

    private func set(_ address: VirtualAddress, _ index: UInt32, _ setting: OwnershipSetting) throws(SystemError) {
        let lifetime = core.timing.lifetime
        switch setting {
        case .new(let prefixRoute):
            try session.set(
                address, interface: index, validLifetime: lifetime, exclusive: true, prefixRoute: prefixRoute)
        case .takenOver, .refreshed:
            try session.set(
                address, interface: index, validLifetime: lifetime,
                prefixRoute: core.bringsRoute(address, now: BootClock.now))
        }
    }

    /// Sees to it that no address of the host goes with one of ours: see `SecondaryPromotion`.
    private func keepSecondaries(of link: LinkState) {
        knownIndex = link.index
        core.keepsSecondaries = false
        do {
            if try SecondaryPromotion.isOn(interface: link.name) {
                core.keepsSecondaries = true
                return
            }
            try SecondaryPromotion.enable(interface: link.name)
            core.keepsSecondaries = true
            logger.notice(
                "Turned on promotion of secondary addresses, so that no address of the host goes with a virtual one",
                metadata: ["sysctl": "net.ipv4.conf.\(link.name).promote_secondaries"])
        } catch {
            logger.warning(
                "An address of the host that is set later than a virtual one of its subnet may be lost with that",
                metadata: ["error": "\(error)"])
        }
    }

    /// Announces the addresses of these directives, in one batch.
    private func announce(_ directives: [OwnershipDirective]) {
        var permitted = directives
        do {
            let link = try presentLink()
            // Immediately before the call that acts.
            let (lease, now) = (currentLease(), BootClock.now)
            permitted = directives.filter { core.permits($0, lease: lease, now: now) }
            let addresses = permitted.compactMap { if case .announce(let address) = $0 { address } else { nil } }
            guard !addresses.isEmpty else { return }
            let wasSent = isSent(try announcer.announce(addresses, on: link))
            for directive in permitted { core.completed(directive, wasSent: wasSent, now: BootClock.now) }
        } catch {
            for directive in permitted { core.failed(directive, error, now: BootClock.now) }
        }
    }

    /// The interface as it is now, with the MAC that is announced.
    private func presentLink() throws(SystemError) -> LinkState {
        guard let link = try session.link(named: interface) else {
            throw SystemError("announce on", interface, errno: ENODEV)
        }
        return link
    }

    private func isSent(_ outcome: AddressAnnouncer.Outcome) -> Bool {
        switch outcome {
        case .sent: return true
        case .skipped(let reason):
            logger.debug("No announcement", metadata: ["reason": "\(reason)"])
            return false
        }
    }

    /// Takes in what the reading of the neighbours brought, from its queue.
    private nonisolated func learnt(_ result: Result<NetlinkSession.Reading<Neighbour>, SystemError>) {
        thread.submit {
            self.assumeIsolated { ownership in
                switch result {
                case .success(let reading):
                    if !reading.isWhole {
                        ownership.logger.warning(
                            "Neighbours come and go faster than they can be read: some are told by broadcast only")
                    }
                    ownership.react(.neighbours(reading.found))
                case .failure(let error):
                    ownership.logger.warning(
                        "The neighbours cannot be read: the addresses are announced by broadcast only",
                        metadata: ["error": "\(error)"])
                    ownership.react(.neighbours([]))
                }
            }
        }
    }

    /// Writes the list of addresses, on the queue for files.
    private nonisolated func list(_ addresses: [VirtualAddress]) {
        guard let addressesFile else { return }
        do {
            try AddressesFile.write(
                Set(addresses).map { .init(address: $0, interface: interface) }, to: addressesFile)
            listFault.withLock { $0 = "" }
        } catch {
            // Service goes before the list: the tag and the kernel's lifetime are there all the same.
            let text = "\(error): what a crash may leave is removed by the kernel only, after a second"
            let isNews = listFault.withLock { fault in
                defer { fault = text }
                return fault != text
            }
            if isNews { thread.submit { self.assumeIsolated { $0.tell(.failed(nil, text)) } } }
        }
    }

    private func log(_ event: OwnershipEvent) {
        switch event {
        case .claimed(let address, let term, let took):
            logger.notice(
                "Address claimed",
                metadata: [
                    "vip.address": "\(address)", "raft.term": "\(term)", "took.us": "\(took.inNanoseconds / 1000)",
                ])
        case .released(let address, let reason):
            logger.notice(
                "Address released", metadata: ["vip.address": "\(address)", "reason": "\(reason.rawValue)"])
        case .reinstated(let address):
            logger.warning(
                "Address was removed from outside and is set again", metadata: ["vip.address": "\(address)"])
        case .reseated(let address, let withRoute):
            logger.notice(
                "Address set anew, because an address of the host in its subnet came or went",
                metadata: ["vip.address": "\(address)", "connected-route": "\(withRoute)"])
        case .conflict(let address, let detail):
            logger.error("Address conflict", metadata: ["vip.address": "\(address)", "error": "\(detail)"])
        case .awaited(let address, let holder):
            logger.notice(
                "Another host still answers for the address: it is claimed when that ends, or after the longest wait",
                metadata: ["vip.address": "\(address)", "vip.holder.mac": "\(holder)"])
        case .withheld(let address):
            logger.warning(
                "Nobody answers for the address, nor does the host of the last holder, whose process has ended: it is claimed later",
                metadata: ["vip.address": "\(address)"])
        case .foreignHolder(let address, let holder?):
            logger.error(
                "Address conflict: another host of the network has the address too",
                metadata: ["vip.address": "\(address)", "vip.holder.mac": "\(holder)"])
        case .foreignMACs(let address, let count, let last):
            logger.warning(
                "Address conflict goes on: it is claimed under several MACs, by several hosts or by one that changes its own",
                metadata: ["vip.address": "\(address)", "vip.holder.macs": "\(count)", "vip.holder.mac": "\(last)"])
        case .foreignHolder(let address, nil):
            logger.notice(
                "Address conflict is over: no other host has the address", metadata: ["vip.address": "\(address)"])
        case .linkDown: logger.warning("Link is down: no announcement can be sent")
        case .linkUp: logger.notice("Link is up")
        case .failed(let address, let text):
            logger.error(
                "Address operation failed",
                metadata: ["vip.address": "\(address.map(\.description) ?? "-")", "error": "\(text)"])
        }
    }
}
