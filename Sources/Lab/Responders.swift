import Glibc
import Platform

/// The service behind the VIP: on every server, UDP datagrams come back with the node's number at their end.
final class Responders: Sendable {
    private let poller: Poller

    init(_ namespaces: [Namespace], family: IPAddress.Family = .v4) throws {
        var sources: [Poller.Source] = []
        do {
            for (index, namespace) in namespaces.enumerated() {
                let descriptor = try namespace.perform {
                    try DatagramSocket.open(port: DatagramSocket.port, family: family)
                }
                sources.append(
                    Poller.Source(descriptor: descriptor) { descriptor, _ in
                        while let datagram = DatagramSocket.receive(descriptor) {
                            DatagramSocket.answer(datagram, with: datagram.bytes + [UInt8(index + 1)], on: descriptor)
                        }
                    })
            }
        } catch {
            for source in sources { close(source.descriptor) }
            throw error
        }
        poller = try Poller("lab-responders", nice: -12, sources)
    }

    func stop() { poller.stop() }
}
