import CCurl
import Glibc
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
        /// CURLcode; see libcurl-errors(3).
        var code: CURLcode
        /// The errno of the connection attempt; 0 when there was none.
        var errno: Int32
        /// libcurl's words.
        var text: String
    }

    // Must run before any other function of libcurl; a static is made once, whatever thread comes first.
    private static let globalInit: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

    func perform() throws(Failure) -> Answer {
        guard Self.globalInit == CURLE_OK, let handle = curl_easy_init() else {
            throw Failure(code: CURLE_FAILED_INIT, errno: 0, text: "libcurl cannot be initialised")
        }
        defer { curl_easy_cleanup(handle) }
        let headers = curl_slist_append(curl_slist_append(nil, "Content-Type: application/json"), "Expect:")
        defer { curl_slist_free_all(headers) }
        let sink = Sink(limit: answerBytes)
        var codes: [CURLcode] = []
        func set(_ option: CURLoption, _ text: String) {
            codes.append(text.withCString { ccurl_set_pointer(handle, option, $0) })
        }
        func set(_ option: CURLoption, _ number: Int) { codes.append(ccurl_set_long(handle, option, number)) }
        set(CURLOPT_URL, url)
        set(CURLOPT_CUSTOMREQUEST, method)
        // No redirects, no proxy of the environment, no other protocol: the API is one known host.
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_NOPROXY, "*")
        set(CURLOPT_FOLLOWLOCATION, 0)
        // Time-outs of the resolver without SIGALRM, which has no place in a process with threads.
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_CONNECTTIMEOUT_MS, Int(connectTime.inMilliseconds))
        set(CURLOPT_TIMEOUT_MS, Int(totalTime.inMilliseconds))
        codes.append(ccurl_set_pointer(handle, CURLOPT_HTTPHEADER, headers))
        if let body {
            set(CURLOPT_POSTFIELDSIZE, body.count)
            codes.append(body.withUnsafeBytes { ccurl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) })
        }
        codes.append(
            ccurl_set_write_function(
                handle,
                { bytes, _, count, context in
                    guard let bytes, let context else { return 0 }
                    let sink = Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
                    return sink.take(UnsafeRawBufferPointer(start: bytes, count: count))
                }, Unmanaged.passUnretained(sink).toOpaque()))
        if let code = codes.first(where: { $0 != CURLE_OK }) { throw failure(code, handle) }

        let code = withExtendedLifetime(sink) { curl_easy_perform(handle) }
        guard code == CURLE_OK else { throw failure(code, handle) }
        var status = 0
        ccurl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
        return Answer(status: status, body: sink.bytes)
    }

    private func failure(_ code: CURLcode, _ handle: UnsafeMutableRawPointer) -> Failure {
        var number = 0
        ccurl_get_long(handle, CURLINFO_OS_ERRNO, &number)
        return Failure(
            code: code, errno: Int32(truncatingIfNeeded: number), text: String(cString: curl_easy_strerror(code)))
    }

    /// Where libcurl puts the answer. Used by the one thread that performs the transfer.
    private final class Sink {
        var bytes: [UInt8] = []
        let limit: Int

        init(limit: Int) { self.limit = limit }

        /// Any number but that of the bytes given makes libcurl end the transfer with CURLE_WRITE_ERROR.
        func take(_ chunk: UnsafeRawBufferPointer) -> Int {
            guard bytes.count + chunk.count <= limit else { return 0 }
            bytes.append(contentsOf: chunk)
            return chunk.count
        }
    }
}
