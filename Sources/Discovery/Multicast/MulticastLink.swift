import CLinux
import Glibc
import Platform

/// The way to the group: the socket, and what is in its way. Both come and go with the interface.
///
/// Used from one thread, in whose network namespace it looks.
struct MulticastLink {
    let group: MulticastConfiguration.Group
    let interface: String
    let timeToLive: UInt8
    private(set) var socket: MulticastSocket?
    private var linkProblem: String?
    private var sendProblem: String?

    init(group: MulticastConfiguration.Group, interface: String, timeToLive: UInt8) {
        self.group = group
        self.interface = interface
        self.timeToLive = timeToLive
    }

    /// Why others may not be found, in words, with what to do; nil when nothing is known to be wrong.
    var problem: String? { linkProblem ?? sendProblem }

    /// Brings the socket in line with the interface as it is now. Cheap when nothing has changed: three system calls.
    ///
    /// - Returns: whether there is a way to the group that was not there, or not known to work, at the last check.
    mutating func check() -> Bool {
        let index = if_nametoindex(interface)
        guard index != 0 else {
            socket = nil
            sendProblem = nil
            linkProblem = "there is no interface \"\(interface)\": see `ip link`, or name another in \"interface\""
            return false
        }
        // Also after a time without a way: joining again makes the kernel report the membership, which switches and
        // routers may have forgotten meanwhile.
        let isOpenAsBefore = socket?.interface == index && linkProblem == nil
        if !isOpenAsBefore, (socket == nil || socket?.interface != index || fault(of: socket) == nil) {
            socket = nil
            sendProblem = nil
            do throws(SystemError) {
                socket = try MulticastSocket(group, interface: index, timeToLive: timeToLive)
            } catch {
                linkProblem = "\(advised(error)) on \(interface)"
                return false
            }
        }
        let fault = fault(of: socket)
        defer { linkProblem = fault }
        return fault == nil && (!isOpenAsBefore || sendProblem != nil)
    }

    /// What a datagram to the group would not survive.
    private func fault(of socket: MulticastSocket?) -> String? {
        guard let socket else { return nil }
        var request = ifreq()
        withUnsafeMutableBytes(of: &request.ifr_ifrn.ifrn_name) { $0.copyBytes(from: interface.utf8.prefix(15)) }
        // netdevice(7). When the interface has just gone, the next check says so.
        guard ioctl(socket.descriptor, UInt(SIOCGIFFLAGS), &request) == 0 else { return nil }
        let flags = Int32(request.ifr_ifru.ifru_flags)
        if flags & Int32(IFF_UP) == 0 { return "\(interface) is down: `ip link set \(interface) up`" }
        if flags & Int32(IFF_RUNNING) == 0 {
            return "\(interface) has no carrier: is the cable plugged in, the switch port on?"
        }
        if group.address.family == .v4, ioctl(socket.descriptor, UInt(SIOCGIFADDR), &request) != 0,
            errno == EADDRNOTAVAIL
        {
            return "\(interface) has no IPv4 address, which \(group) needs"
        }
        return nil
    }

    private func advised(_ error: SystemError) -> SystemError {
        var error = error
        error.remedy =
            switch error.errno {
            case ENODEV: "does \(interface) have \(group.address.family == .v4 ? "IPv4" : "IPv6")?"
            case EADDRINUSE: "another program keeps port \(group.port) to itself: give another in \"group\""
            case EADDRNOTAVAIL: "does \(interface) have an address of the family of \(group)?"
            case EPERM: "does a firewall rule of this host forbid it?"
            default: nil
            }
        return error
    }

    /// Sends to the group; a failure becomes the problem until it works again.
    mutating func send(_ bytes: [UInt8]) {
        guard let socket else { return }
        do throws(SystemError) {
            try socket.send(bytes)
            sendProblem = nil
        } catch {
            sendProblem = "\(advised(error)) over \(interface)"
        }
    }

    /// Hands over what has arrived, a bounded part of it at a time.
    mutating func receive(into buffer: inout [UInt8], _ handle: (MulticastSocket.Datagram) -> Void) {
        guard let socket else { return }
        do throws(SystemError) {
            var left = 64
            while left > 0, let datagram = try socket.receive(into: &buffer) {
                handle(datagram)
                left -= 1
            }
        } catch {
            // ENETDOWN and the like: made anew at the next check.
            self.socket = nil
            linkProblem = "\(error) over \(interface)"
        }
    }
}
