import CCurl
import Platform

/// One request and its answer over libcurl, blocking the calling thread.
struct HTTPTransfer {
    var method: String
    var url: String
    /// JSON to send; nil sends no body.
    var body: [UInt8]?
    var connectTime: Duration
    /// From the beginning to the end of the answer.
    var totalTime: Duration
    /// An answer that is longer is given up.
    var answerBytes = 8 << 20

    struct Answer: Sendable {
        var status: Int
        var body: [UInt8]
    }

    struct Failure: Error {
        /// libcurl's; see libcurl-errors(3).
        var code: ccurl_code
        /// The errno of the connection attempt; 0 when there was none.
        var errno: Int32
        /// libcurl's words.
        var text: String
    }

    // Must run before any other function of libcurl; a static is made once, whatever thread comes first.
    private static let globalInit = ccurl_global_init()

    func perform() throws(Failure) -> Answer {
        guard Self.globalInit == 0, let handle = ccurl_init() else {
            throw Failure(code: ccurl_failed_init, errno: 0, text: "libcurl cannot be initialised")
        }
        defer { ccurl_cleanup(handle) }
        let type = ccurl_list_append(nil, "Content-Type: application/json")
        // libcurl would else wait for "100 Continue" before a long body.
        let headers = ccurl_list_append(type, "Expect:") ?? type
        defer { ccurl_list_free(headers) }
        let sink = Sink(limit: answerBytes)

        // No redirects, no proxy of the environment, no other protocol: the API is one known host. No signals: libcurl's
        // time-outs by SIGALRM have no place in a process with threads.
        var codes = [
            ccurl_set_text(handle, ccurl_url, url), ccurl_set_text(handle, ccurl_custom_request, method),
            ccurl_set_text(handle, ccurl_protocols, "http,https"), ccurl_set_text(handle, ccurl_no_proxy, "*"),
            ccurl_set_long(handle, ccurl_follow_location, 0), ccurl_set_long(handle, ccurl_no_signal, 1),
            ccurl_set_long(handle, ccurl_connect_timeout_ms, Int(connectTime.inMilliseconds)),
            ccurl_set_long(handle, ccurl_timeout_ms, Int(totalTime.inMilliseconds)),
            ccurl_set_list(handle, ccurl_http_header, headers),
            ccurl_set_write_function(handle, takePart, Unmanaged.passUnretained(sink).toOpaque()),
        ]
        if let body {
            codes.append(ccurl_set_long(handle, ccurl_post_field_size, body.count))
            codes.append(body.withUnsafeBytes { ccurl_set_bytes(handle, ccurl_copy_post_fields, $0.baseAddress) })
        }
        if let code = codes.first(where: { $0 != 0 }) { throw failure(code, handle) }

        let code = withExtendedLifetime(sink) { ccurl_perform(handle) }
        guard code == 0 else { throw failure(code, handle) }
        return Answer(status: ccurl_status(handle), body: sink.bytes)
    }

    private func failure(_ code: Int32, _ handle: UnsafeMutableRawPointer) -> Failure {
        Failure(
            code: ccurl_code(rawValue: UInt32(bitPattern: code)),
            errno: Int32(truncatingIfNeeded: ccurl_errno(handle)), text: String(cString: ccurl_text(code)))
    }
}

/// Where libcurl puts the answer. Used by the one thread that performs the transfer.
private final class Sink {
    var bytes: [UInt8] = []
    let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Any number but that of the bytes given makes libcurl end the transfer with an error.
    func take(_ chunk: UnsafeRawBufferPointer) -> Int {
        guard bytes.count + chunk.count <= limit else { return 0 }
        bytes.append(contentsOf: chunk)
        return chunk.count
    }
}

private func takePart(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
)
    -> Int
{
    guard let bytes, let context else { return 0 }
    return Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
        .take(UnsafeRawBufferPointer(start: bytes, count: size * count))
}
