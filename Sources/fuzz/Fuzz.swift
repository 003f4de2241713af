import Glibc

/// What libFuzzer calls with each input. The environment variable FUZZ names the decoder; `make fuzz` runs each of them.
///
/// Every decoder here takes in what a stranger can send, and must be total: an answer or an error for any bytes, in bounded
/// time and memory. Some have to keep a promise besides; where it is broken they end the process with what was promised.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    decode(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}

/// By the names that FUZZ takes.
let decoders: [String: @Sendable ([UInt8]) -> Void] = [
    "dns": fuzzDNS, "etcd": fuzzEtcd, "consul": fuzzConsul, "multicast": fuzzMulticast,
    "configuration": fuzzConfiguration, "sql": fuzzSQL, "client": fuzzClient, "peer": fuzzPeer, "relay": fuzzRelay,
    "raft": fuzzRaft, "wire": fuzzWire,
]

private let decode: @Sendable ([UInt8]) -> Void = {
    let name = getenv("FUZZ").map { String(cString: $0) } ?? ""
    guard let decoder = decoders[name] else {
        fatalError("set FUZZ to one of \(decoders.keys.sorted().joined(separator: ", "))")
    }
    return decoder
}()

/// Ends the process when a promise is broken: libFuzzer keeps the input.
func promise(_ isKept: Bool, _ text: @autoclosure () -> String) {
    if !isKept { fatalError("broken: \(text())") }
}

/// The bytes behind the first two, and two places to cut them at, which these two say.
///
/// The places are spread over the whole length, so that one changed byte moves the cut and not the content.
func cut(_ bytes: [UInt8]) -> (content: [UInt8], pieces: [ArraySlice<UInt8>]) {
    let content = Array(bytes.dropFirst(2))
    let places = bytes.prefix(2).map { Int($0) * (content.count + 1) / 256 }.sorted()
    guard let first = places.first, let last = places.last else { return ([], []) }
    return (content, [content[..<first], content[first..<last], content[last...]])
}
