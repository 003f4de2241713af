@testable import Discovery

/// What name servers, stores, other hosts and files say of where the nodes are.
func fuzzDNS(_ bytes: [UInt8]) { _ = try? DNSMessage(bytes) }

func fuzzEtcd(_ bytes: [UInt8]) {
    _ = EtcdMessages.granted(bytes)
    _ = EtcdMessages.keptAlive(bytes)
    _ = EtcdMessages.transaction(bytes)
    _ = EtcdMessages.done(bytes)
    _ = EtcdMessages.token(bytes)
    _ = EtcdMessages.failure(bytes)
    _ = RecordCoding.leader(bytes)
    _ = RecordCoding.address(bytes)
}

func fuzzConsul(_ bytes: [UInt8]) {
    _ = try? ConsulDecoding.snapshot(bytes, below: "dqlite-vip")
    _ = try? ConsulDecoding.sessionID(bytes)
    _ = try? ConsulDecoding.conflicts(bytes)
    _ = ConsulDecoding.text(bytes)
}

func fuzzMulticast(_ bytes: [UInt8]) {
    _ = try? MulticastDatagram.header(of: bytes)
    _ = try? MulticastDatagram.decode(bytes)
}

func fuzzConfiguration(_ bytes: [UInt8]) {
    guard let text = try? ExpandedText(bytes, environment: ["A": "\"\\x"], limit: 1 << 20),
        let object = try? JSONReader.object(in: text.bytes)
    else { return }
    for mode in DiscoveryRegistry.modes { _ = DiscoveryRegistry.check(mode: mode, object) }
}
