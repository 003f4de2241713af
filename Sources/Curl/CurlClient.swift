import CCurl
import Platform

/// Requests over libcurl.
public final class CurlClient: Sendable {
    public init() {}

    /// - Throws: `CurlFailure`; `SystemError` when the host has no thread to give.
    public func send(_ request: CurlRequest) async throws -> CurlAnswer {
        try await BlockingThread.run(named: "curl") { try Transfer(request: request).perform() }
    }
}

private struct Transfer {
    var request: CurlRequest

    // Must run before any other function of libcurl; a static is made once, whatever thread comes first.
    private static let globalInit = ccurl_global_init()

    func perform() throws(CurlFailure) -> CurlAnswer {
        guard Self.globalInit == 0, let handle = ccurl_init() else {
            throw CurlFailure(code: .other, text: "libcurl cannot be initialised")
        }
        defer { ccurl_cleanup(handle) }
        // libcurl would else wait for "100 Continue" before a long body.
        var headers = ccurl_list_append(nil, "Expect:")
        for header in request.headers {
            headers = ccurl_list_append(headers, "\(header.name): \(header.value)") ?? headers
        }
        defer { ccurl_list_free(headers) }
        let sink = Sink(limit: request.answerBytes)
        // No redirects, no other protocol. No signals: libcurl's time-outs by SIGALRM have no place in a process with
        // threads.
        var codes = [
            ccurl_set_text(handle, ccurl_url, request.url),
            ccurl_set_text(handle, ccurl_custom_request, request.method),
            ccurl_set_text(handle, ccurl_protocols, "http,https"),
            ccurl_set_long(handle, ccurl_follow_location, 0), ccurl_set_long(handle, ccurl_no_signal, 1),
            ccurl_set_long(handle, ccurl_connect_timeout_ms, Int(request.connectTime.inMilliseconds)),
            ccurl_set_long(handle, ccurl_timeout_ms, Int(request.totalTime.inMilliseconds)),
            ccurl_set_list(handle, ccurl_http_header, headers),
            ccurl_set_write_function(handle, takePart, Unmanaged.passUnretained(sink).toOpaque()),
        ]
        if request.proxy == .none { codes.append(ccurl_set_text(handle, ccurl_no_proxy, "*")) }
        if let body = request.body {
            codes.append(ccurl_set_long(handle, ccurl_post_field_size, body.count))
            codes.append(body.withUnsafeBytes { ccurl_set_bytes(handle, ccurl_copy_post_fields, $0.baseAddress) })
        }
        if let code = codes.first(where: { $0 != 0 }) { throw failure(code, handle) }

        let code = withExtendedLifetime(sink) { ccurl_perform(handle) }
        guard code == 0 else { throw failure(code, handle) }
        return CurlAnswer(status: ccurl_status(handle), body: sink.bytes)
    }

    private func failure(_ code: Int32, _ handle: UnsafeMutableRawPointer) -> CurlFailure {
        let kind: CurlFailure.Code =
            switch ccurl_code(rawValue: UInt32(bitPattern: code)) {
            case ccurl_could_not_connect: .cannotConnect
            case ccurl_could_not_resolve_host: .unresolvable
            case ccurl_operation_timed_out: .timedOut
            case ccurl_got_nothing, ccurl_recv_error, ccurl_send_error, ccurl_weird_server_reply,
                ccurl_unsupported_protocol:
                .notHTTP
            case ccurl_write_error: .answerTooLong
            default: .other
            }
        return CurlFailure(
            code: kind, errno: Int32(truncatingIfNeeded: ccurl_errno(handle)),
            text: String(cString: ccurl_text(code)))
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
