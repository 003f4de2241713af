import Curl
import FoundationEssentials
import Glibc
import Platform
import Synchronization

/// Requests to one agent of Consul, with what the configuration adds to each.
final class ConsulConnection: Sendable {
    /// An agent itself waits up to 7 s for its servers to have a leader, and then says that they have none.
    static let timeLimit = Duration.seconds(8)

    let configuration: ConsulConfiguration
    private let url: String
    private let client = CurlClient()
    private let tls: Mutex<CurlRequest.TLS>
    private let tokenFile: ConsulTokenFile?

    /// - Throws: `DiscoveryError` when a file cannot be read.
    init(_ configuration: ConsulConfiguration) throws {
        self.configuration = configuration
        url = configuration.url
        tls = Mutex(configuration.scheme == .https ? try configuration.tls.material() : CurlRequest.TLS())
        tokenFile = try configuration.tokenFile.map { try ConsulTokenFile($0) }
    }

    /// - Parameters:
    ///   - path: below /v1/, escaped.
    ///   - query: names without values.
    ///   - purpose: what is tried, for messages: "read the key x".
    /// - Throws: `DiscoveryError`.
    func send(
        _ method: String, _ path: String, _ query: [String] = [], body: [UInt8]? = nil, to purpose: String
    ) async throws -> CurlAnswer {
        var request = configuration.request(
            method, path, query, body: body, token: try await tokenFile?.current() ?? configuration.token)
        request.tls = tls.withLock { $0 }
        do {
            return try await client.send(request)
        } catch let failure as CurlFailure {
            if failure.code == .tls { await reloadAuthorities() }
            throw ConsulFailure.explain(failure, configuration, purpose)
        } catch let error as SystemError {
            throw DiscoveryError(.system, "cannot \(purpose) in \(configuration.place): \(error)")
        }
    }

    /// For the next request: a directory is read by us and not, as files are, at each connection.
    private func reloadAuthorities() async {
        let settings = configuration.tls
        guard configuration.scheme == .https, settings.authorityDirectory != nil else { return }
        // What cannot be read now is kept: that Consul is not trusted is told in any case.
        let new = try? await BlockingThread.run(named: "ca_path") { try settings.material() }
        if let new { tls.withLock { $0 = new } }
    }
}

extension ConsulConfiguration {
    /// All but the settings of TLS.
    func request(
        _ method: String, _ path: String, _ query: [String], body: [UInt8]?, token: String?
    ) -> CurlRequest {
        let scope = [("dc", datacenter), ("ns", namespace), ("partition", partition)]
        let fields = query + scope.compactMap { name, value in value.map { "\(name)=\(PercentEncoding.encode($0))" } }
        var request = CurlRequest(
            method, "\(url)/v1/\(path)" + (fields.isEmpty ? "" : "?" + fields.joined(separator: "&")), body: body,
            totalTime: ConsulConnection.timeLimit, credentials: credentials)
        if method == "PUT" {
            // Later versions want to be told, and some proxies want a length even of nothing.
            request.headers.append(("Content-Type", "application/json"))
            request.body = body ?? []
        }
        if let token { request.headers.append(("X-Consul-Token", token)) }
        if case .socket(let path) = address { request.unixSocket = path }
        return request
    }

    /// Without anything behind the port.
    var url: String {
        let scheme = scheme ?? .http
        switch address ?? .ofAgent {
        case .network(let host, let port):
            let name = host.contains(":") ? "[\(host)]" : host
            return "\(scheme.rawValue)://\(name)" + (port.map { ":\($0)" } ?? "")
        // The name that Consul's own clients give it.
        case .socket: return "\(scheme.rawValue)://localhost"
        }
    }

    /// For messages.
    var place: String {
        if case .socket(let path) = address { "Consul at unix://\(path)" } else { "Consul at \(url)" }
    }
}

extension ConsulConfiguration.TLS {
    /// - Throws: `DiscoveryError` when a file cannot be read; what is in it, libcurl judges.
    func material() throws -> CurlRequest.TLS {
        for (field, path) in [("ca_file", authorityFile), ("cert_file", certificateFile), ("key_file", keyFile)] {
            guard let path, access(path, R_OK) != 0 else { continue }
            throw unreadable(field, path, SystemError.text(of: errno))
        }
        var tls = CurlRequest.TLS(serverName: serverName, verifiesServer: verifiesServer)
        tls.authorities = try authorityFile.map { .file($0) } ?? authorityText.map { .pem($0) } ?? directoryText()
        tls.certificate = certificateText.map { .pem($0) } ?? certificateFile.map { .file($0) }
        tls.key = keyText.map { .pem($0) } ?? keyFile.map { .file($0) }
        return tls
    }

    /// All certificates of the directory. Go's programs take them whatever the files' names are; OpenSSL would not.
    private func directoryText() throws -> CurlRequest.TLS.Material? {
        guard let path = authorityDirectory else { return nil }
        guard let directory = opendir(path) else { throw unreadable("ca_path", path, SystemError.text(of: errno)) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        var text: [UInt8] = []
        for name in names.sorted() where !name.hasPrefix(".") {
            // What is no file or cannot be read is no certificate for us.
            guard let bytes = try? DurableFile.read("\(path)/\(name)"),
                String(decoding: bytes, as: UTF8.self).contains("-----BEGIN CERTIFICATE-----")
            else { continue }
            text += bytes + [UInt8(ascii: "\n")]
        }
        if text.isEmpty { throw unreadable("ca_path", path, "no file there is a readable certificate in PEM") }
        return .pem(text)
    }

    private func unreadable(_ field: String, _ path: String, _ reason: String) -> DiscoveryError {
        DiscoveryError(.system, "cannot read \(path), which --disco-config names as \(field): \(reason)")
    }
}

/// A token that another program keeps up to date in a file.
final class ConsulTokenFile: Sendable {
    private let path: String
    private let last: Mutex<String>

    /// - Throws: `DiscoveryError` when there is no token in it.
    init(_ path: String) throws {
        self.path = path
        last = Mutex(try Self.read(path))
    }

    /// The token as it stands in the file now. While that is being replaced, and is empty or missing, it is the last one.
    func current() async throws -> String {
        let path = path
        // A thread of its own: the file may be on a network.
        guard let token = try? await BlockingThread.run(named: "token file", { try Self.read(path) }) else {
            return last.withLock { $0 }
        }
        last.withLock { $0 = token }
        return token
    }

    private static func read(_ path: String) throws -> String {
        let name = "\(path), which --disco-config names as token_file"
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try DurableFile.read(path, limit: 4096)
        } catch {
            throw DiscoveryError(.system, "cannot read \(name): \(error)")
        }
        guard let bytes else { throw DiscoveryError(.system, "there is no file \(name): write the token into it") }
        let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let token = words.first, token.utf8.allSatisfy({ 0x20 < $0 && $0 < 0x7F }) else {
            throw DiscoveryError(
                .system, "in \(name), there is not one word: write the token, and nothing else, into it")
        }
        return String(token)
    }
}
