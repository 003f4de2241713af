import CLinux
import Glibc
import Lab
import Platform

/// A name server that does what no good one does: answers over UDP by a function, or not at all; over TCP it accepts and
/// stays silent, or does not listen.
final class BadNameServer: Sendable {
    let port: UInt16
    private let datagrams: LoopbackSocket
    private let stream: LoopbackSocket?

    /// `reply`: nil for silence.
    init(listensOnTCP: Bool = false, reply: @escaping @Sendable ([UInt8]) -> [UInt8]?) throws {
        port = try LoopbackPort.free()
        let datagrams = try LoopbackSocket(.datagram, port: port)
        self.datagrams = datagrams
        stream = listensOnTCP ? try LoopbackSocket(.stream, port: port) : nil
        if let stream { try retryingOnInterrupt("listen") { listen(stream.descriptor, 8) } }
        try BlockingThread.start(named: "bad-dns") {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                var peer = sockaddr_in()
                var size = socklen_t(MemoryLayout<sockaddr_in>.size)
                let count = withUnsafeMutablePointer(to: &peer) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(datagrams.descriptor, &buffer, buffer.count, 0, $0, &size)
                    }
                }
                // The socket was shut down: see stop.
                guard count > 0 else { return }
                guard let answer = reply(Array(buffer[..<count])) else { continue }
                withUnsafePointer(to: &peer) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        _ = sendto(datagrams.descriptor, answer, answer.count, 0, $0, size)
                    }
                }
            }
        }
    }

    var endpoint: HostPort { HostPort(host: "127.0.0.1", port: port) }

    func stop() {
        shutdown(datagrams.descriptor, Int32(SHUT_RDWR))
    }

    /// The query as an answer with these flags, without records.
    static func answer(_ query: [UInt8], flags: UInt16) -> [UInt8] {
        var answer = query
        answer[2] = UInt8(flags >> 8)
        answer[3] = UInt8(flags & 0xFF)
        return answer
    }
}
