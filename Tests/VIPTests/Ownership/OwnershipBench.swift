import CLinux
import Glibc
import Platform

@testable import VIP

/// Plays the shell, the kernel and the guard for `OwnershipCore`, on a clock of its own, and checks at each directive what
/// must always hold.
struct OwnershipBench {
    struct Place: Hashable, Comparable {
        var interface: UInt32
        var address: IPAddress
        var prefixLength: UInt8

        /// A fixed order, so that a seed means the same in each run.
        static func < (lhs: Place, rhs: Place) -> Bool {
            (lhs.address, lhs.prefixLength, lhs.interface) < (rhs.address, rhs.prefixLength, rhs.interface)
        }
    }

    static let start = BootInstant(nanoseconds: 1_000_000_000_000)

    var core: OwnershipCore
    var now = Self.start
    var lease: Lease?
    var link: LinkState?
    /// Whose address it is: true is ours, that is tagged.
    var kernel: [Place: Bool] = [:]
    /// When the kernel removes an address of ours.
    var lifetimes: [Place: BootInstant] = [:]
    /// What the guard watches, and when it looks at the lease next: `lease` is what the page says.
    var watched: [GuardedAddress: BootInstant] = [:]
    /// What the guard has removed since it was last told of it.
    var removedByGuard: Set<GuardedAddress> = []
    /// Answers the error with which a directive fails, if it shall, and whether it was carried out all the same.
    var fault: (OwnershipDirective) -> (error: SystemError, isDone: Bool)? = { _ in nil }
    /// The address that a test took from us without a word, so that we may take it back.
    var tolerates: Place?
    /// No deletion is waiting for its next attempt.
    var isPunctual = true
    /// How long the shell needs for a directive.
    var cost: () -> Duration = { .zero }
    /// How long the process is stopped between the last look at the lease and the system call.
    var stall: () -> Duration = { .zero }
    /// The lease as it is after such a stop: nil when nobody has extended it.
    var leaseAfterStall: (BootInstant) -> Lease? = { _ in nil }
    /// What was set when the lease was over: before anything else happens it must be deleted.
    private var overdue: Set<VirtualAddress> = []
    /// The MACs of other hosts that answer for an address, at this time, to a probe.
    var others: (IPAddress, BootInstant) -> [UInt8] = { _, _ in [] }
    /// Whether the host of the last holder, whose process has ended, answers a question of this time.
    var hostAnswers: (BootInstant) -> Bool = { _ in false }
    /// What was carried out since the last input.
    private var records: [Record] = []
    /// The same in words.
    var transcript: [String] { records.compactMap(line) }
    var events: [OwnershipEvent] = []
    /// What was carried out since the start, in words; the newest hundred or more.
    var history: [String] { past.map { "\(Self.start.duration(to: $0.time).inMilliseconds) \(words($0))" } }
    private var past: [Record] = []
    private var idleTurns = 0
    private var echoes: [NetlinkEvent] = []
    /// For which addresses the shell listens.
    var heeded: Set<VirtualAddress> = []
    /// Addresses that the kernel carries but does not serve.
    var spoilt: Set<Place> = []

    /// Something that happened. In words only when somebody reads it: long runs are made of millions.
    private struct Record {
        enum What {
            case directive(OwnershipDirective)
            case event(OwnershipEvent)
            case report(NetlinkEvent)
        }
        var time: BootInstant
        var what: What
        var errno: Int32?
    }
    /// What a reading of the neighbours brings.
    var neighbours: [Neighbour] = []
    /// When a probe was sent.
    var probes: [BootInstant] = []
    /// Which rules were broken.
    var violations: [String] = []

    /// - Parameter asks: the LAN is asked before a claim.
    /// - Parameter tells: the neighbours are told one by one.
    init(timing: OwnershipTiming = OwnershipTiming(), hasLink: Bool = true, asks: Bool = false, tells: Bool = false) {
        var timing = timing
        if !asks { timing.probe = .none }
        core = OwnershipCore(
            interface: "eth0", timing: timing, neighbours: tells ? NeighbourSchedule() : nil, now: Self.start)
        core.keepsSecondaries = true
        if hasLink { link = Self.link(index: 2) }
    }

    static func link(index: UInt32, up: Bool = true, mac: UInt8 = 1) -> LinkState {
        LinkState(
            index: index, name: "eth0", hardwareType: 1, hardwareAddress: [2, 0, 0, 0, 0, mac],
            flags: up ? UInt32(IFF_UP) | UInt32(IFF_RUNNING) | 1 << 16 : 0)
    }

    // MARK: The shell

    /// Steps until there is nothing to do; returns what was carried out.
    @discardableResult
    mutating func run(_ input: OwnershipCore.Input = .wake) -> [String] {
        resume(input)
        return transcript
    }

    private mutating func resume(_ input: OwnershipCore.Input) {
        records = []
        work(input)
        // The kernel reports our own doings too, and the shell hears of them when it has done the rest.
        while !echoes.isEmpty {
            let event = echoes.removeFirst()
            if core.isNews(event) { work(.netlink(event)) }
        }
    }

    private mutating func work(_ input: OwnershipCore.Input) {
        var input = input
        // Events are told in any case, when all else is done.
        var told: [OwnershipEvent] = []
        defer { for event in told { tell(event) } }
        for round in 0... {
            let directives = core.step(input, lease: lease, now: now)
            input = .wake
            if directives.isEmpty { break }
            if round == 16 {
                violations.append("no end of directives: \(directives)")
                break
            }
            told += directives.compactMap { if case .event(let event) = $0 { event } else { nil } }
            for directive in directives {
                if case .event = directive { continue }
                perform(directive)
                if case .set = directive, !core.isCovered(lease, now) { break }
            }
        }
        if !overdue.isEmpty { violations.append("\(overdue) were set when the lease was over, and are left there") }
        let wake = core.nextWake(lease: lease, now: now)
        // A deletion that failed waits for its next attempt.
        let hasFailed =
            !isPunctual
            || records.contains {
                if case .directive(.delete) = $0.what { $0.errno != nil } else { false }
            }
        if let lease, !core.placed.isEmpty, lease.end > now, wake > lease.end, !hasFailed {
            violations.append("sleeps past the lease")
        }
    }

    /// Lets time pass up to a moment, with the kernel, the guard and the core waking when they want to.
    mutating func pass(_ duration: Duration, lease renewal: ((BootInstant) -> Lease?)? = nil) {
        let end = now.advanced(by: duration)
        while now < end {
            if let renewal { lease = renewal(now) }
            let wake = core.nextWake(lease: lease, now: now)
            idleTurns = wake <= now && records.isEmpty ? idleTurns + 1 : 0
            if idleTurns == 20 { violate("it wakes without end, and does nothing") }
            now = min(end, max(wake, now.advanced(by: .microseconds(100))))
            if let renewal { lease = renewal(now) }
            expire()
            resume(.wake)
        }
    }

    /// What kernel and guard do by themselves at this time.
    mutating func expire() {
        runGuard { $0.remove($1) }
        for place in lifetimes.filter({ $0.value <= now }).keys.sorted() { remove(place) }
    }

    /// Does what `GuardCore` does: reads the lease when the end has come that it read last.
    private mutating func runGuard(_ remove: (inout Self, Place) -> Void) {
        guard watched.values.contains(where: { $0 <= now }) else { return }
        for address in watched.filter({ $0.value <= now }).keys.sorted(by: { $0.description < $1.description }) {
            // What was removed before may have had this one released.
            guard watched[address] != nil else { continue }
            if let end = lease?.end, end.advanced(by: .zero - GuardCore.lead) > now {
                watched[address] = end.advanced(by: .zero - GuardCore.lead)
                continue
            }
            watched[address] = now.advanced(by: GuardCore.again)
            removedByGuard.insert(address)
            guard let virtual = address.virtualAddress else { continue }
            let place = Place(
                interface: address.interfaceIndex, address: virtual.address, prefixLength: virtual.prefixLength)
            if kernel[place] == true { remove(&self, place) }
        }
    }

    /// The process is stopped: kernel and guard go on, and their reports wait.
    mutating func stop(for duration: Duration) {
        now = now.advanced(by: duration)
        expireSilently()
        for place in lifetimes.filter({ $0.value <= now }).keys.sorted() { vanish(place) }
    }

    /// Removes an address, whoever does it, and reports that as the kernel does.
    mutating func remove(_ place: Place) {
        guard let isOurs = kernel.removeValue(forKey: place) else { return }
        lifetimes[place] = nil
        report(.addressRemoved(interfaceAddress(place, isOurs)))
    }

    mutating func addByHand(_ text: String, interface: UInt32 = 2) throws {
        let place = try Self.place(text, interface: interface)
        guard kernel[place] == nil else { return }
        kernel[place] = false
        report(.addressAdded(interfaceAddress(place, false)))
    }

    mutating func removeByHand(_ text: String, interface: UInt32 = 2) throws {
        remove(try Self.place(text, interface: interface))
    }

    mutating func setLink(_ new: LinkState?) {
        let old = link
        link = new
        if let old, old.index != new?.index {
            for place in kernel.keys.sorted() where place.interface == old.index { remove(place) }
            report(.linkRemoved(index: old.index))
        }
        if let new { report(.linkChanged(new)) }
    }

    mutating func report(_ event: NetlinkEvent) {
        keep(Record(time: now, what: .report(event)))
        guard core.isNews(event) else { return }
        let earlier = records
        resume(.netlink(event))
        records = earlier + records
    }

    /// Lets time pass under a lease, and gives how long it took until the address was set.
    ///
    /// - Parameter limit: in milliseconds; beyond it `DidNotHappen` is thrown.
    @discardableResult
    mutating func timeToSet(
        _ address: VirtualAddress, within limit: Int, lease: @escaping (BootInstant) -> Lease?
    ) throws -> Duration {
        let begin = now
        while try !isSet("\(address)") {
            if begin.duration(to: now) > .milliseconds(limit) {
                throw DidNotHappen(description: "no claim within \(limit) ms: \(history)")
            }
            pass(.microseconds(250), lease: lease)
        }
        return begin.duration(to: now)
    }

    func isSet(_ text: String, interface: UInt32 = 2) throws -> Bool {
        kernel[try Self.place(text, interface: interface)] == true
    }

    static func place(_ text: String, interface: UInt32) throws -> Place {
        let address = try VirtualAddress(parsing: text)
        return Place(interface: interface, address: address.address, prefixLength: address.prefixLength)
    }

    private mutating func violate(_ text: String) {
        violations.append("\(text); before: \(history.suffix(25))")
    }

    private func interfaceAddress(_ place: Place, _ isOurs: Bool) -> InterfaceAddress {
        InterfaceAddress(
            interfaceIndex: place.interface, address: place.address, prefixLength: place.prefixLength,
            flags: spoilt.contains(place) ? UInt32(IFA_F_DADFAILED) : 0,
            proto: isOurs ? virtualAddressProtocolTag : nil)
    }

    // MARK: Carrying out

    private mutating func perform(_ directive: OwnershipDirective) {
        now = now.advanced(by: cost())
        expireSilently()
        guard core.permits(directive, lease: lease, now: now) else { return }
        check(directive)
        let stalled = stall()
        if stalled > .zero {
            now = now.advanced(by: stalled)
            expireSilently()
            if let extended = leaseAfterStall(now) { lease = extended }
        }
        let fault = fault(directive)
        var error = fault?.error
        if fault?.isDone ?? true {
            let refusal = carryOut(directive)
            error = error ?? refusal
        }
        let record = Record(time: now, what: .directive(directive), errno: error?.errno)
        // What is listened for is no work of consequence: the tests look at `heeded`.
        if case .listen = directive, error == nil {} else { records.append(record) }
        keep(record)
        if let error {
            core.failed(directive, error, now: now)
        } else {
            core.completed(directive, now: now)
            if case .set(let address, _, _) = directive, lease.map({ $0.end <= now }) ?? true {
                overdue.insert(address)
            }
        }
    }

    /// As `expire`, but the shell hears of it only after its present work.
    private mutating func expireSilently() {
        runGuard { $0.vanish($1) }
    }

    private mutating func vanish(_ place: Place) {
        guard let isOurs = kernel.removeValue(forKey: place) else { return }
        lifetimes[place] = nil
        echoes.append(.addressRemoved(interfaceAddress(place, isOurs)))
    }

    private mutating func tell(_ event: OwnershipEvent) {
        events.append(event)
        records.append(Record(time: now, what: .event(event)))
        keep(Record(time: now, what: .event(event)))
    }

    private mutating func keep(_ record: Record) {
        if past.count >= 200 { past.removeFirst(100) }
        past.append(record)
    }

    private func line(_ record: Record) -> String? {
        if case .report = record.what { return nil }
        return words(record)
    }

    private func words(_ record: Record) -> String {
        switch record.what {
        case .directive(let directive): words(directive) + (record.errno == nil ? "" : " fails")
        case .event(let event): words(.event(event))
        case .report(let event): "report \(event)"
        }
    }

    private mutating func check(_ directive: OwnershipDirective) {
        if case .delete(let address, _) = directive {
            overdue.remove(address)
        } else if !overdue.isEmpty {
            violate("\(words(directive)), when \(overdue) are overdue")
        }
        switch directive {
        case .set(let address, let interface, _):
            if lease.map({ $0.end <= now }) ?? true { violations.append("set \(address) without a lease") }
            let guarded = GuardedAddress(address, interfaceIndex: interface)
            if watched[guarded] == nil { violations.append("set \(address) unguarded") }
            if removedByGuard.contains(guarded) { violate("set \(address), which the guard has removed") }
        case .announce(let address):
            if lease.map({ $0.end <= now }) ?? true { violations.append("announced \(address) without a lease") }
        case .tellNeighbours:
            if lease.map({ $0.end <= now }) ?? true { violations.append("told neighbours without a lease") }
        case .guardHold(let address, _):
            if lease.map({ $0.end <= now }) ?? true { violations.append("hold \(address) without a lease") }
        case .delete(let address, let interface):
            let place = Place(interface: interface, address: address.address, prefixLength: address.prefixLength)
            if kernel[place] == false { violate("deletes \(address), which is not ours") }
        case .survey, .guardRelease, .event, .probe, .inquire, .listen, .readNeighbours: break
        }
    }

    private mutating func carryOut(_ directive: OwnershipDirective) -> SystemError? {
        switch directive {
        case .survey:
            core.observe(
                link: link, addresses: kernel.sorted { $0.key < $1.key }.map { interfaceAddress($0.key, $0.value) },
                now: now)
        case .guardHold(let address, let interface):
            watched[GuardedAddress(address, interfaceIndex: interface)] = now
            removedByGuard.remove(GuardedAddress(address, interfaceIndex: interface))
        case .guardRelease(let address, let interface):
            watched[GuardedAddress(address, interfaceIndex: interface)] = nil
            removedByGuard.remove(GuardedAddress(address, interfaceIndex: interface))
        case .set(let address, let interface, let setting):
            let place = Place(interface: interface, address: address.address, prefixLength: address.prefixLength)
            if link?.index != interface { return SystemError("set", errno: ENODEV) }
            if case .new = setting, kernel[place] != nil { return SystemError("set", errno: EEXIST) }
            if kernel[place] == false, place != tolerates {
                violations.append("takes over \(address), which is not ours")
            }
            kernel[place] = true
            echoes.append(.addressAdded(interfaceAddress(place, true)))
            lifetimes[place] = now.advanced(by: .seconds(1))
        case .delete(let address, let interface):
            let place = Place(interface: interface, address: address.address, prefixLength: address.prefixLength)
            spoilt.remove(place)
            if let isOurs = kernel.removeValue(forKey: place) {
                echoes.append(.addressRemoved(interfaceAddress(place, isOurs)))
            }
            lifetimes[place] = nil
        case .probe(let address, _): probed(address)
        case .inquire:
            if hostAnswers(now) { core.hint.predecessor?.answeredSince = now }
        case .listen(let addresses, _): heeded = addresses
        case .readNeighbours: core.take(.neighbours(neighbours), now: now)
        case .announce, .tellNeighbours, .event: break
        }
        return nil
    }

    /// Another host answers at once; the shell hears it before its next step.
    private mutating func probed(_ address: VirtualAddress) {
        probes.append(now)
        for mac in others(address.address, now) {
            hear(address.address, from: mac)
        }
    }

    /// Another host says that it has an address, or asks for it.
    mutating func hear(_ address: IPAddress, from mac: UInt8, as claimant: ClaimProbe.Claimant = .holder) {
        guard let hardwareAddress = HardwareAddress([2, 0, 0, 0, 0, mac]) else { return }
        core.heard(
            AddressSighting(address: address, hardwareAddress: hardwareAddress, claimant: claimant), now: now)
    }

    private func words(_ directive: OwnershipDirective) -> String {
        switch directive {
        case .survey: "survey"
        case .guardHold(let address, let interface): "hold \(address) on \(interface)"
        case .set(let address, let interface, let setting): "set \(address) on \(interface): \(setting)"
        case .announce(let address): "announce \(address)"
        case .readNeighbours(let families, _): "read neighbours of \(families.count)"
        case .tellNeighbours(let notices): "tell \(notices.count)"
        case .probe(let address, _): "probe \(address)"
        case .inquire: "inquire"
        case .listen(let addresses, let interface): "listen for \(addresses.count) on \(interface)"
        case .delete(let address, let interface): "delete \(address) on \(interface)"
        case .guardRelease(let address, let interface): "release \(address) on \(interface)"
        case .event(let event):
            switch event {
            case .claimed(let address, let term, let took): "claimed \(address) in term \(term) within \(took)"
            case .released(let address, let reason): "released \(address): \(reason.rawValue)"
            case .reinstated(let address): "reinstated \(address)"
            case .reseated(let address, let withRoute): "reseated \(address) \(withRoute ? "with" : "without") route"
            case .conflict(let address, _): "conflict \(address)"
            case .awaited(let address, let holder): "awaited \(address) at \(holder)"
            case .withheld(let address): "withheld \(address)"
            case .foreignHolder(let address, let holder):
                "foreign holder of \(address): \(holder.map(\.description) ?? "none")"
            case .foreignMACs(let address, let count, _): "foreign holder of \(address) under \(count)"
            case .linkDown: "link down"
            case .linkUp: "link up"
            case .failed(let address, _): "failed \(address.map(\.description) ?? "")"
            }
        }
    }
}
