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

extension LabCluster {
    /// Puts a host on the switch that answers each probe for the VIP, until it is stopped.
    ///
    /// - Parameter macs: under which it answers, in turn; none for a new one each time.
    public func startLiar(as macs: [[UInt8]] = []) throws -> ARPLiar {
        try ARPLiar(network.services(), interface: Network.interface, about: vip, as: macs)
    }
}
