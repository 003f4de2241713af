import Glibc

@testable import Discovery

/// What libFuzzer calls with each input. The environment variable FUZZ names the decoder; `make fuzz` runs each of them.
///
/// Every decoder here takes in what a stranger can send, and must be total: an answer or an error for any bytes, in bounded
/// time and memory.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    decode(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}

private let decode: @Sendable ([UInt8]) -> Void = {
    let name = getenv("FUZZ").map { String(cString: $0) } ?? ""
    switch name {
    case "dns": return { _ = try? DNSMessage($0) }
    case "etcd":
        return { bytes in
            _ = EtcdMessages.granted(bytes)
            _ = EtcdMessages.keptAlive(bytes)
            _ = EtcdMessages.transaction(bytes)
            _ = EtcdMessages.done(bytes)
            _ = EtcdMessages.token(bytes)
            _ = EtcdMessages.failure(bytes)
            _ = RecordCoding.leader(bytes)
            _ = RecordCoding.address(bytes)
        }
    case "consul":
        return { bytes in
            _ = try? ConsulDecoding.snapshot(bytes, below: "dqlite-vip")
            _ = try? ConsulDecoding.sessionID(bytes)
            _ = try? ConsulDecoding.conflicts(bytes)
            _ = ConsulDecoding.text(bytes)
        }
    case "multicast":
        return { bytes in
            _ = try? MulticastDatagram.header(of: bytes)
            _ = try? MulticastDatagram.decode(bytes)
        }
    case "configuration":
        return { bytes in
            guard let text = try? ExpandedText(bytes, environment: ["A": "\"\\x"], limit: 1 << 20),
                let object = try? JSONReader.object(in: text.bytes)
            else { return }
            for mode in DiscoveryRegistry.modes { _ = DiscoveryRegistry.check(mode: mode, object) }
        }
    default:
        fatalError("set FUZZ to dns, etcd, consul, multicast or configuration")
    }
}()
