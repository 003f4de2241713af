import CLinux
import Platform
import Testing

@testable import VIP

@Suite("NeighbourSchedule: whom to tell, when, and how many at a time")
struct NeighbourScheduleTests {
    private let vip: VirtualAddress
    private let six: VirtualAddress

    init() throws {
        vip = try VirtualAddress(parsing: "192.0.2.10/24")
        six = try VirtualAddress(parsing: "2001:db8::10/64")
    }

    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    private static func host(_ number: Int, state: Int32 = NUD_REACHABLE) throws -> Neighbour {
        Neighbour(
            interfaceIndex: 2, address: try #require(IPAddress("192.0.\(number / 250).\(number % 250 + 1)")),
            hardwareAddress: HardwareAddress([2, 0, 0, 0, UInt8(number >> 8), UInt8(number & 255)]),
            state: UInt16(state))
    }

    /// Runs it until nothing is due before `end`; each reading brings the same hosts. The times at which hosts are told.
    private static func run(
        _ schedule: inout NeighbourSchedule, _ hosts: [Neighbour], until end: Int64
    ) -> (told: [(at: Int64, notices: [NeighbourNotice])], readings: [Int64]) {
        var told: [(Int64, [NeighbourNotice])] = []
        var readings: [Int64] = []
        while let next = schedule.next, next <= at(end) {
            let time = at(0).duration(to: next).inMilliseconds
            switch schedule.due(now: next) {
            case .nothing: return (told, readings)
            case .read:
                readings.append(time)
                schedule.learnt(hosts, except: [], now: next)
            case .tell(let notices): told.append((time, notices))
            }
        }
        return (told, readings)
    }

    @Test("two rounds after the claim, behind the first broadcast, each with a reading of its own; then no more")
    func rounds() throws {
        var schedule = NeighbourSchedule()
        #expect(schedule.next == nil && !schedule.isActive)
        schedule.begin(vip, now: Self.at(0))
        #expect(schedule.due(now: Self.at(19)) == .nothing)
        let hosts = try (0..<3).map { try Self.host($0) }
        let (told, readings) = Self.run(&schedule, hosts, until: 100_000)
        #expect(readings == [20, 1400])
        #expect(told.map(\.at) == [20, 1400])
        #expect(told.allSatisfy { $0.notices == hosts.map { NeighbourNotice(vip, to: $0) } })
        #expect(!schedule.isActive)
    }

    @Test("32 frames every 10 ms, 1024 hosts at most, and those in use first")
    func rate() throws {
        var schedule = NeighbourSchedule()
        schedule.begin(vip, now: Self.at(0))
        let stale = try (0..<1500).map { try Self.host($0, state: NUD_STALE) }
        let fresh = try (1500..<1510).map { try Self.host($0) }
        let (told, _) = Self.run(&schedule, stale + fresh, until: 1000)
        let hosts = told.flatMap(\.notices).map(\.neighbour)
        #expect(hosts == fresh + stale.prefix(1014))
        #expect(told.allSatisfy { $0.notices.count <= 32 })
        #expect(told.map(\.at) == (0..<32).map { 20 + 10 * Int64($0) })
    }

    @Test("groups, hosts without a MAC, our own addresses and another family are told nothing")
    func whom() throws {
        var schedule = NeighbourSchedule()
        schedule.begin(vip, now: Self.at(0))
        schedule.begin(six, now: Self.at(5))
        #expect(schedule.due(now: Self.at(20)) == .read([.v4, .v6]), "those that are due so close share it")
        var silent = try Self.host(1, state: NUD_FAILED)
        silent.hardwareAddress = nil
        var group = try Self.host(2, state: NUD_NOARP)
        group.hardwareAddress = HardwareAddress([1, 0, 0x5E, 0, 0, 1])
        var broadcast = try Self.host(3)
        broadcast.hardwareAddress = HardwareAddress([UInt8](repeating: 255, count: 6))
        let own = try Self.host(4)
        var router = try Self.host(5)
        router.address = try #require(IPAddress("fe80::1"))
        let client = try Self.host(6)
        schedule.learnt(
            [silent, group, broadcast, own, router, client], except: [own.address, vip.address], now: Self.at(21))
        #expect(
            schedule.due(now: Self.at(21))
                == .tell([NeighbourNotice(vip, to: client), NeighbourNotice(six, to: router)]))
    }

    @Test("an address that is let go of is told to nobody any more, at whatever stage; the others go on")
    func end() throws {
        let hosts = try (0..<40).map { try Self.host($0) }
        let other = try VirtualAddress(parsing: "192.0.2.11/24")
        for stage in 0..<3 {
            var schedule = NeighbourSchedule()
            schedule.begin(vip, now: Self.at(0))
            schedule.begin(other, now: Self.at(0))
            if stage >= 1 { #expect(schedule.due(now: Self.at(20)) == .read([.v4])) }
            if stage >= 2 { schedule.learnt(hosts, except: [], now: Self.at(20)) }
            schedule.end(vip)
            if stage == 1 { schedule.learnt(hosts, except: [], now: Self.at(20)) }
            let told = Self.run(&schedule, hosts, until: 100_000).told.flatMap(\.notices)
            #expect(told.count == 80 && told.allSatisfy { $0.address == other }, "stage \(stage)")
        }
    }

    @Test("a new begin begins the rounds anew; an answer that nobody waits for is left alone")
    func again() throws {
        var schedule = NeighbourSchedule()
        let hosts = [try Self.host(0)]
        schedule.learnt(hosts, except: [], now: Self.at(0))
        #expect(!schedule.isActive)
        schedule.begin(vip, now: Self.at(0))
        _ = Self.run(&schedule, hosts, until: 500)
        schedule.begin(vip, now: Self.at(1000))
        #expect(Self.run(&schedule, hosts, until: 100_000).readings == [1020, 2400])
    }
}
