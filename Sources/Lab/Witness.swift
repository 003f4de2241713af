import CLinux
import Glibc
import Platform
import Synchronization

/// Sees every address that comes and goes in the servers' namespaces, from the kernel, and at once.
///
/// One thread reads all sockets, so the order of events of different nodes is the true one to some 0.1 ms: what it reads in
/// one go has one time, and no event bears a later time than one that came after it.
public final class Witness: Sendable {
    private let log = Log()
    private let poller: Poller

    private final class Log: Sendable {
        struct State {
            var timeline = Timeline()
            var overruns = 0
        }
        let state = Mutex(State())
    }

    /// Watches `namespaces`; the first is node 1.
    init(_ namespaces: [Namespace]) throws {
        var sources: [Poller.Source] = []
        for (index, namespace) in namespaces.enumerated() {
            do {
                let descriptor = try namespace.perform { try Self.subscribe() }
                let log = log
                sources.append(
                    Poller.Source(descriptor: descriptor) { descriptor, now in
                        Self.drain(descriptor, node: index + 1, now: now, into: log)
                    })
            } catch {
                for source in sources { close(source.descriptor) }
                throw error
            }
        }
        poller = try Poller("lab-witness", nice: -15, keepsOrder: true, sources)
    }

    /// Everything seen up to now.
    public var timeline: Timeline { log.state.withLock { $0.timeline } }

    /// Which nodes have the address now.
    public func holders(of address: IPAddress) -> [Int] { timeline.holders(of: address) }

    /// How often the kernel dropped events because we were too slow. Above 0 the timeline is not to be trusted.
    public var overruns: Int { log.state.withLock { $0.overruns } }

    func stop() { poller.stop() }

    private static func subscribe() throws(SystemError) -> Int32 {
        let descriptor = try retryingOnInterrupt("open a netlink socket") {
            socket(
                AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        }
        var size: Int32 = 4 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_groups = UInt32(RTMGRP_IPV4_IFADDR) | UInt32(RTMGRP_IPV6_IFADDR)
        do {
            try retryingOnInterrupt("subscribe to address events") {
                withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
                    }
                }
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func drain(_ descriptor: Int32, node: Int, now: BootInstant, into log: Log) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 {
                if Glibc.errno == EINTR { continue }
                if Glibc.errno == ENOBUFS { log.state.withLock { $0.overruns += 1 } }
                return
            }
            let changes = AddressMessages.decode(Array(buffer[..<count]))
            log.state.withLock { state in
                for change in changes {
                    state.timeline.append(Timeline.Event(time: now, node: node, change: change))
                }
            }
        }
    }
}
