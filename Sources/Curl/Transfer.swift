import CCurl
import Platform

/// One request on its way: an easy handle of libcurl and what it points to. Used by one thread.
final class Transfer {
    let handle: UnsafeMutableRawPointer
    private let request: CurlRequest
    private let sink: Sink
    private let errorBuffer: UnsafeMutablePointer<CChar>
    private var lists: [UnsafeMutableRawPointer] = []
    private var optionFailure: Int32 = 0

    /// - Throws: `CurlFailure` when the request cannot be sent by anybody.
    init(_ request: CurlRequest) throws(CurlFailure) {
        try request.check()
        guard let handle = ccurl_init() else { throw CurlFailure(code: .other, text: "libcurl has no memory") }
        self.handle = handle
        self.request = request
        sink = Sink(limit: request.answerBytes)
        errorBuffer = .allocate(capacity: Int(ccurl_error_size))
        errorBuffer.initialize(repeating: 0, count: Int(ccurl_error_size))
        note(ccurl_set_error_buffer(handle, errorBuffer))
        note(ccurl_set_write_function(handle, takePart, Unmanaged.passUnretained(sink).toOpaque()))
        setGeneral()
        try setTarget()
        setBody()
        setProxy()
        setTLS()
        if optionFailure != 0 { throw failure(optionFailure) }
    }

    deinit {
        ccurl_cleanup(handle)
        for list in lists { ccurl_list_free(list) }
        errorBuffer.deallocate()
    }

    func result(of code: Int32) -> Result<CurlAnswer, CurlFailure> {
        if code == 0 { return .success(CurlAnswer(status: ccurl_status(handle), body: sink.bytes)) }
        return .failure(failure(code))
    }

    private func failure(_ code: Int32) -> CurlFailure {
        let text = String(cString: errorBuffer)
        return CurlFailure(
            curl: code, errno: Int32(truncatingIfNeeded: ccurl_errno(handle)),
            text: text.isEmpty ? String(cString: ccurl_text(code)) : text, request)
    }

    private func setGeneral() {
        // No redirects, no other protocol. No signals: libcurl's time-outs by SIGALRM have no place in a process with
        // threads.
        set(ccurl_protocols, "http,https")
        set(ccurl_follow_location, 0)
        set(ccurl_no_signal, 1)
        // A request has a connection to itself, so that giving it up disturbs no other.
        set(ccurl_http_version, Int(ccurl_http_1_1.rawValue))
        // 0 would mean no limit, and libcurl wants no more than 31 bits.
        set(ccurl_connect_timeout_ms, Int(min(max(request.connectTime.inMilliseconds, 1), Int64(Int32.max))))
        set(ccurl_timeout_ms, Int(min(max(request.totalTime.inMilliseconds, 1), Int64(Int32.max))))
        // Giving up a transfer while its name is being resolved would else wait for getaddrinfo and hold up all others.
        // The resolver's thread frees what is left when it is done.
        setIfKnown(ccurl_quick_exit, 1)
        if let credentials = request.credentials {
            set(ccurl_username, credentials.username)
            set(ccurl_password, credentials.password)
        }
    }

    private func setTarget() throws(CurlFailure) {
        // libcurl would else wait for "100 Continue" before a long body, and call every body a form.
        var headers = ["Expect:"]
        if !request.headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            headers.append("Content-Type:")
        }
        for (name, value) in request.headers { headers.append(value.isEmpty ? "\(name);" : "\(name): \(value)") }

        if let serverName = request.tls.serverName {
            // The URL's host is what libcurl verifies and sends as SNI; so that is the server's name, and the true host
            // is where to connect to.
            guard let target = URLParts(request.url), let url = target.url(at: serverName) else {
                throw CurlFailure(
                    code: .other, text: "not a URL of http or https, or no name of a server: \(serverName)")
            }
            set(ccurl_url, url)
            set(ccurl_connect_to, ["::\(target.host):"])
            if !request.headers.contains(where: { $0.name.lowercased() == "host" }) {
                headers.append("Host: \(target.authority)")
            }
        } else {
            set(ccurl_url, request.url)
        }
        if let path = request.unixSocket { set(ccurl_unix_socket, path) }
        set(ccurl_http_header, headers)
    }

    private func setBody() {
        // With CUSTOMREQUEST alone libcurl would wait for the body of an answer to HEAD.
        if request.method == "HEAD" { set(ccurl_no_body, 1) } else { set(ccurl_custom_request, request.method) }
        guard let body = request.body else { return }
        set(ccurl_post_field_size, body.count)
        // One byte more, since an empty array may have no address, and without one libcurl reads standard input.
        (body + [0]).withUnsafeBytes { note(ccurl_set_bytes(handle, ccurl_copy_post_fields, $0.baseAddress)) }
    }

    private func setProxy() {
        switch request.proxy {
        case .environment: if URLParts(request.url)?.isLocal == true { set(ccurl_no_proxy, "*") }
        case .none: set(ccurl_no_proxy, "*")
        case .url(let url):
            set(ccurl_proxy, url)
            set(ccurl_no_proxy, "")
        }
    }

    private func setTLS() {
        let tls = request.tls
        set(ccurl_tls_version, Int(ccurl_tls_1_2.rawValue))
        if !tls.verifiesServer {
            set(ccurl_verify_peer, 0)
            set(ccurl_verify_host, 0)
        }
        if tls.authorities != nil || tls.authorityDirectory != nil {
            // libcurl keeps a file's content for a day. Only the system's authorities are worth that.
            setIfKnown(ccurl_authorities_cache_seconds, 0)
            // Whichever is not given must not stay at the system's.
            set(ccurl_authorities_directory, tls.authorityDirectory)
            set(ccurl_authorities_file, nil)
        }
        set(tls.authorities, file: ccurl_authorities_file, blob: ccurl_authorities_blob)
        set(tls.certificate, file: ccurl_certificate_file, blob: ccurl_certificate_blob)
        set(tls.key, file: ccurl_key_file, blob: ccurl_key_blob)
        // OpenSSL would else ask the terminal for the password of an encrypted key, and wait.
        set(ccurl_key_password, "")
    }

    private func set(_ material: CurlRequest.TLS.Material?, file: ccurl_option, blob: ccurl_option) {
        switch material {
        case nil: break
        case .file(let path): set(file, path)
        case .pem(let bytes):
            (bytes + [0]).withUnsafeBytes { note(ccurl_set_blob(handle, blob, $0.baseAddress, bytes.count)) }
        }
    }

    private func set(_ option: ccurl_option, _ value: Int) { note(ccurl_set_long(handle, option, value)) }

    private func set(_ option: ccurl_option, _ text: String?) { note(ccurl_set_text(handle, option, text)) }

    private func set(_ option: ccurl_option, _ texts: [String]) {
        var list: UnsafeMutableRawPointer?
        for text in texts {
            guard let longer = ccurl_list_append(list, text) else {
                note(Int32(ccurl_failed_init.rawValue))
                break
            }
            list = longer
        }
        if let list { lists.append(list) }
        note(ccurl_set_list(handle, option, list))
    }

    /// For what an older libcurl can do without.
    private func setIfKnown(_ option: ccurl_option, _ value: Int) {
        let code = ccurl_set_long(handle, option, value)
        if code != Int32(ccurl_unknown_option.rawValue) { note(code) }
    }

    private func note(_ code: Int32) {
        if optionFailure == 0 { optionFailure = code }
    }
}

/// Where libcurl puts the answer.
private final class Sink {
    var bytes: [UInt8] = []
    let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Any number but that of the bytes given makes libcurl end the transfer with an error.
    func take(_ chunk: UnsafeRawBufferPointer) -> Int {
        guard chunk.count <= limit - bytes.count else { return -1 }
        bytes.append(contentsOf: chunk)
        return chunk.count
    }
}

private func takePart(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let context else { return -1 }
    return Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
        .take(UnsafeRawBufferPointer(start: bytes, count: size * count))
}
