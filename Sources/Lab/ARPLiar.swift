import CLinux
import Glibc
import Platform
import Synchronization

/// A host of the LAN that says it has an address to whoever probes for it, each time under another MAC.
///
/// It answers probes only (sender 0.0.0.0, RFC 5227), and the asker alone: the client goes on to reach the holder.
public final class ARPLiar: Sendable {
    private let count: Counter
    private let poller: Poller

    private final class Counter: Sendable {
        let answers = Atomic<Int>(0)
    }

    /// - Parameter macs: under which it answers, in turn; none for a new one each time.
    init(_ namespace: Namespace, interface: String, about address: IPAddress, as macs: [[UInt8]]) throws {
        let descriptor = try namespace.perform { try PacketSocket.open(interface: interface) }
        let count = Counter()
        self.count = count
        poller = try Poller(
            "lab-liar",
            [
                Poller.Source(descriptor: descriptor) { descriptor, _ in
                    var buffer = [UInt8](repeating: 0, count: 256)
                    while true {
                        let length = recv(descriptor, &buffer, buffer.count, 0)
                        if length < 0 && Glibc.errno == EINTR { continue }
                        guard length >= 0 else { return }
                        guard let frame = ARPFrame(frame: Array(buffer[..<length])), frame.operation == .request,
                            frame.target == address, frame.sender.bytes.allSatisfy({ $0 == 0 })
                        else { continue }
                        let number = count.answers.add(1, ordering: .relaxed).oldValue
                        let mac =
                            macs.isEmpty
                            ? [2] + (0..<5).map { _ in UInt8.random(in: .min ... .max) } : macs[number % macs.count]
                        let answer = ARPFrame.reply(that: address, isAt: mac, to: frame.senderHardware)
                        // It fails when the interface is down: then nobody hears lies.
                        _ = send(descriptor, answer, answer.count, Int32(MSG_DONTWAIT))
                    }
                }
            ])
    }

    /// How many probes it has answered.
    public var answers: Int { count.answers.load(ordering: .relaxed) }

    public func stop() { poller.stop() }
}

/// A host of the LAN that announces an address all the time, each time under another MAC.
public final class ARPStorm: Sendable {
    private let isOver: Flag
    private let thread: OwnThread

    private final class Flag: Sendable {
        let value = Atomic<Bool>(false)
    }

    init(_ namespace: Namespace, interface: String, about address: IPAddress, every pause: Duration) throws {
        let descriptor = try namespace.perform { try PacketSocket.open(interface: interface) }
        let isOver = Flag()
        self.isOver = isOver
        let microseconds = UInt32(clamping: pause.components.attoseconds / 1_000_000_000_000)
        thread = try OwnThread("lab-storm", nice: -10) {
            while !isOver.value.load(ordering: .relaxed) {
                let mac: [UInt8] = [2] + (0..<5).map { _ in UInt8.random(in: .min ... .max) }
                let frame = ARPFrame.announcement(of: address, at: mac, .reply)
                // It fails when the interface is down: then nobody hears it.
                _ = send(descriptor, frame, frame.count, Int32(MSG_DONTWAIT))
                usleep(microseconds)
            }
            close(descriptor)
        }
    }

    /// Ends it. To be called once.
    public func stop() {
        isOver.value.store(true, ordering: .relaxed)
        thread.join()
    }
}

extension LabCluster {
    /// Puts a host on the switch that announces the VIP every `pause`, less than a second, under a new MAC each time, until it
    /// is stopped. The client goes astray by that.
    public func startStorm(every pause: Duration) throws -> ARPStorm {
        try ARPStorm(network.services(), interface: Network.interface, about: vip, every: pause)
    }

    /// Puts a host on the switch that answers each probe for the VIP, until it is stopped.
    ///
    /// - Parameter macs: under which it answers, in turn; none for a new one each time.
    public func startLiar(as macs: [[UInt8]] = []) throws -> ARPLiar {
        try ARPLiar(network.services(), interface: Network.interface, about: vip, as: macs)
    }
}
