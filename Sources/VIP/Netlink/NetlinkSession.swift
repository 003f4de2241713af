import CLinux
import Glibc
import Platform

/// Questions and orders to the kernel about addresses and links, one at a time: rtnetlink(7).
///
/// It belongs to one thread or actor at a time, and acts in the network namespace of the thread that created it. Each call
/// waits for the kernel's answer, which takes microseconds; it gives up after two seconds.
///
/// How an IPv4 virtual address lives with the host's own (measured on Linux 6.18, tests in NetlinkSessionTests):
/// - An address with the same subnet *and* prefix length as one that is there already becomes its secondary. Our address is
///   one normally; when it goes, nothing else does.
/// - When the host's primary goes, the kernel removes its secondaries with it, our address too, unless
///   `net.ipv4.conf.*.promote_secondaries` is 1 for the interface or for all. The removal is reported as an event, and
///   whoever holds the address sets it again.
/// - When our address was there *first*, later addresses of the host are secondaries of ours, and its expiry would take
///   them along: this needs promotion. `SecondaryPromotion` tells and sets it; a /32 never has secondaries.
/// - With noprefixroute a host without another address in that subnet cannot answer its clients:
///   `VirtualAddress.needsPrefixRoute` tells when the route is wanted.
/// - With noprefixroute no connected route comes or goes with the address. In table `local` its own entry does, and the
///   broadcast entry of its subnet as long as no other address of the host has it too.
///
/// How exactly the kernel keeps an IPv4 lifetime of 1 s (measured on Linux 6.18 with HZ 250, 51 expiries):
/// - Never less than 1.0 s, mostly up to 1.3 s after the last refresh. The check is a deferrable timer there (devinet.c; older
///   kernels had an ordinary one), which waits for its processor to wake up for another reason: on an idle machine 1.7 s
///   were seen, and no bound is given.
/// - Every set of an address with a lifetime runs the check at once and puts off the next one by at least a second. So
///   refresh all addresses of the host in one go: one that was set 0.9 s after another, and nothing after it, made that
///   other one live 2.0 s.
public final class NetlinkSession {
    let socket: NetlinkSocket
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: NetlinkSocket.receiveCapacity)

    private let dumpAttempts: Int
    /// After so many there is a pause of 1 ms before each: the changes come faster than dumps, and some let up.
    private static let dumpsWithoutPause = 5

    /// What a dump brought.
    public struct Reading<Element: Sendable>: Sendable {
        public var found: [Element]
        /// Whether changes interrupted it each time: then something may be missing that was there all the time, because the
        /// kernel goes on by counting, and what came or went meanwhile shifts the numbers.
        public var isWhole: Bool
    }

    /// - Throws: `SystemError` when no netlink socket can be had.
    public convenience init() throws(SystemError) {
        // With 5 ms of pauses in all, on the thread that has to keep to the lease.
        try self.init(dumpAttempts: 10)
    }

    /// - Parameter dumpAttempts: how often a dump that changes interrupt is tried, at least once.
    init(dumpAttempts: Int) throws(SystemError) {
        self.dumpAttempts = dumpAttempts
        socket = try NetlinkSocket()
    }

    /// The IPv4 and IPv6 addresses of an interface, or of all interfaces, in the kernel's order: primary before secondary.
    ///
    /// - Throws: `SystemError`; EBUSY when changes interrupt it again and again. Who can do with a part calls
    ///   `presentAddresses`.
    public func addresses(interface: UInt32? = nil) throws(SystemError) -> [InterfaceAddress] {
        try whole(presentAddresses(interface: interface), "read the addresses")
    }

    /// The same, with what was found when changes interrupt it again and again.
    ///
    /// That is right for whoever follows a `NetlinkMonitor` that was there before: the kernel interrupts a dump of addresses when
    /// an address or an interface comes or goes (`inet_base_seq` of net/ipv4/devinet.c, `dev_base_seq_inc`), and reports the
    /// same to the groups that the monitor hears (a test has both). What it does not report is an entry that was there all
    /// the time and was passed over: so that one reads again soon. It marks no dump of a single interface (measured on Linux 6.18),
    /// which may so lack something unseen, where an interface has more than some 400 addresses.
    public func presentAddresses(interface: UInt32? = nil) throws(SystemError) -> Reading<InterfaceAddress> {
        let request = NetlinkRequest.dumpAddresses(interface: interface ?? 0)
        let contents: Reading<NetlinkMessage.Content>
        do {
            contents = try exchange(
                request, "read the addresses", interface.map { "of \(Self.name(ofInterface: $0))" } ?? "")
        } catch let error where error.errno == ENODEV {
            // A filtered dump of an interface that is gone: it has no addresses.
            return Reading(found: [], isWhole: true)
        }
        return contents.map { content in
            // Kernels before 4.20 do not filter.
            if case .newAddress(let address) = content, interface == nil || interface == address.interfaceIndex {
                return address
            }
            return nil
        }
    }

    /// All interfaces.
    ///
    /// - Throws: `SystemError`; EBUSY when changes interrupt it again and again.
    public func links() throws(SystemError) -> [LinkState] { try whole(presentLinks(), "read the interfaces") }

    /// The same, with what was found when changes interrupt it again and again; see `presentAddresses`.
    public func presentLinks() throws(SystemError) -> Reading<LinkState> {
        try exchange(.dumpLinks, "read the interfaces", "").map { content in
            if case .newLink(let link) = content { return link }
            return nil
        }
    }

    /// The neighbours of an interface, in the kernel's order, also those that do not answer. Some may be missing, where more
    /// come and go than can be read: they are told by broadcast anyway.
    public func neighbours(_ family: IPAddress.Family, interface: UInt32) throws(SystemError) -> Reading<Neighbour> {
        let request = NetlinkRequest.dumpNeighbours(family, interface: interface)
        let subject = "of \(Self.name(ofInterface: interface))"
        return try exchange(request, "read the neighbours", subject).map { content in
            // Kernels that do not filter send those of all interfaces.
            if case .neighbour(let neighbour) = content, neighbour.interfaceIndex == interface { return neighbour }
            return nil
        }
    }

    /// The interface of this name or alternative name; nil when there is none.
    public func link(named name: String) throws(SystemError) -> LinkState? {
        // 127 is the longest alternative name (ALTIFNAMSIZ); a name with a NUL byte would be cut to another.
        guard !name.isEmpty, name.utf8.count <= 127, !name.utf8.contains(0) else { return nil }
        do {
            for case .newLink(let link) in try exchange(.link(name: name), "read the interface", name).found {
                return link
            }
            return nil
        } catch let error where error.errno == ENODEV {
            return nil
        }
    }

    /// Sets the address, or refreshes the lifetime of the one that is there. The address is ours from then on: tagged with
    /// `virtualAddressProtocolTag`, global scope, no broadcast address, gone by itself when it is not refreshed.
    ///
    /// Refreshing turns an address of the host into one that expires: the caller makes sure that it is no such address, or
    /// passes `exclusive`.
    ///
    /// - Parameters:
    ///   - address: with the prefix length of its subnet; a /32 or /128 stands alone.
    ///   - interface: index of the interface.
    ///   - validLifetime: seconds until the kernel removes it, at least 1; how exactly, the type's comment says.
    ///   - preferredLifetime: seconds for which the host may choose it as source address; 0 means never.
    ///   - exclusive: fail with EEXIST when the address is there already, whoever set it.
    ///   - prefixRoute: let the kernel add the connected route of the subnet, as for an address of the host; see
    ///     `VirtualAddress.needsPrefixRoute`. A refresh changes it for IPv6 only.
    /// - Throws: `SystemError`: EPERM without CAP_NET_ADMIN, ENODEV without the interface, EEXIST, EINVAL.
    public func set(
        _ address: VirtualAddress, interface: UInt32, validLifetime: UInt32 = 1, preferredLifetime: UInt32 = 0,
        exclusive: Bool = false, prefixRoute: Bool = false
    ) throws(SystemError) {
        let request = NetlinkRequest.setAddress(
            .init(
                address: address, interface: interface, validLifetime: validLifetime,
                preferredLifetime: preferredLifetime, exclusive: exclusive, prefixRoute: prefixRoute))
        _ = try exchange(request, "set the address", "\(address) on \(Self.name(ofInterface: interface))")
    }

    /// Removes exactly this address with this prefix length.
    ///
    /// - Returns: whether it was there; false also when the interface is gone.
    /// - Throws: `SystemError`: EPERM without CAP_NET_ADMIN.
    @discardableResult
    public func delete(_ address: VirtualAddress, interface: UInt32) throws(SystemError) -> Bool {
        let request = NetlinkRequest.deleteAddress(address, interface: interface)
        do {
            _ = try exchange(request, "remove the address", "\(address) from \(Self.name(ofInterface: interface))")
            return true
        } catch let error where error.errno == EADDRNOTAVAIL || error.errno == ENODEV {
            return false
        }
    }

    /// Whether the kernel keeps and reports `virtualAddressProtocolTag`: Linux 5.18 and later, and earlier ones into which
    /// the distribution brought it. Without it, our addresses are known by the list on disk alone.
    public func reportsProtocolTags() throws(SystemError) -> Bool {
        // A kernel that has it marks its own addresses, those of the loopback interface first of all.
        if try addresses().contains(where: { $0.proto != nil }) { return true }
        return Self.kernelRelease().map { $0 >= (5, 18) } ?? false
    }

    /// Major and minor number of the running kernel; nil when its release string is not of that form.
    static func kernelRelease() -> (Int, Int)? {
        var names = utsname()
        guard uname(&names) == 0 else { return nil }
        let release = withUnsafeBytes(of: names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
    }

    // MARK: -

    private func exchange(
        _ request: NetlinkRequest, _ operation: String, _ subject: @autoclosure () -> String
    ) throws(SystemError) -> Reading<NetlinkMessage.Content> {
        do {
            var reading = try attempt(request)
            var number = 1
            while !reading.isWhole, number < dumpAttempts {
                if number >= Self.dumpsWithoutPause { usleep(1000) }
                reading = try attempt(request)
                number += 1
            }
            return reading
        } catch let failure {
            throw SystemError(
                operation, subject(), errno: failure.errno,
                remedy: Self.remedy(for: failure.errno, explanation: failure.remedy))
        }
    }

    private func whole<Element>(
        _ reading: Reading<Element>, _ operation: String
    ) throws(SystemError) -> [Element] {
        guard reading.isWhole else {
            throw SystemError(
                operation, errno: EBUSY, remedy: "the configuration changes faster than it can be read; try again")
        }
        return reading.found
    }

    /// Sends the request and collects its answers.
    ///
    /// An error's `remedy` is the kernel's explanation.
    private func attempt(_ request: NetlinkRequest) throws(SystemError) -> Reading<NetlinkMessage.Content> {
        socket.discardAnswers(using: &buffer)
        sequence &+= 1
        try socket.send(request.encode(sequence: sequence))
        var contents: [NetlinkMessage.Content] = []
        var isInterrupted = false
        while true {
            let messages: [NetlinkMessage]
            do {
                messages = try socket.receive(into: &buffer)
            } catch let error where error.errno == EAGAIN {
                throw SystemError("", errno: ETIMEDOUT, remedy: "the kernel did not answer within two seconds")
            }
            // An answer to a request that was given up earlier carries an older number.
            for message in messages where message.sequence == sequence && message.port == socket.port {
                isInterrupted = isInterrupted || message.isInterruptedDump
                switch message.content {
                case .acknowledgement, .done(errno: 0, text: _):
                    return Reading(found: contents, isWhole: !isInterrupted)
                case .failure(let code, let text), .done(let code, let text):
                    throw SystemError("", errno: code, remedy: text)
                case .malformed(let type):
                    throw SystemError("", errno: EBADMSG, remedy: "message type \(type) is not as rtnetlink(7) says")
                case .newAddress, .deletedAddress, .newLink, .deletedLink, .neighbour, .other:
                    contents.append(message.content)
                }
            }
        }
    }

    private static func remedy(for code: Int32, explanation: String?) -> String? {
        let advice: String? =
            switch code {
            case EPERM: Remedy.netAdmin
            // Of addresses only IPv6 knows it.
            case EACCES: "IPv6 is off on the interface; turn it on: `sysctl -w net/ipv6/conf/INTERFACE/disable_ipv6=0`"
            case ENODEV: "there is no such interface any more; see `ip link`"
            case EEXIST: "the address is there already, set by somebody else; see `ip address`"
            default: nil
            }
        let words = [explanation.map { "the kernel says \"\($0)\"" }, advice].compactMap(\.self)
        return words.isEmpty ? nil : words.joined(separator: "; ")
    }

    /// `eth0`, or `interface 7` when it is gone.
    private static func name(ofInterface index: UInt32) -> String {
        var name = [CChar](repeating: 0, count: Int(IFNAMSIZ))
        guard if_indextoname(index, &name) != nil else { return "interface \(index)" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension NetlinkSession.Reading {
    fileprivate func map<Other>(_ body: (Element) -> Other?) -> NetlinkSession.Reading<Other> {
        .init(found: found.compactMap(body), isWhole: isWhole)
    }
}

/// What an operator can do about a refusal that more than one part meets.
enum Remedy {
    static let netAdmin =
        "it needs CAP_NET_ADMIN: run as root, or `setcap cap_net_admin,cap_net_raw+ep` the dqlite-vip binary, "
        + "or give the systemd unit `AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW`"
    static let netRaw =
        "it needs CAP_NET_RAW: run as root, or `setcap cap_net_admin,cap_net_raw+ep` the dqlite-vip binary, "
        + "or give the systemd unit `AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW`"
}
