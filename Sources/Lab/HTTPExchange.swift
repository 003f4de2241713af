import CLinux
import Glibc
import Platform

/// An HTTP response, body whole.
public struct HTTPResponse: Sendable {
    public var status: Int
    /// Names in lower case.
    public var headers: [String: String]
    public var body: [UInt8]

    public var text: String { String(decoding: body, as: UTF8.self) }
}

/// One HTTP/1.1 request per connection, from inside a namespace; small enough to trust as a test's own client.
public enum HTTPExchange {
    /// Sends a request and reads the answer.
    ///
    /// `limit`: for connecting, sending and reading together.
    /// - Throws: `SystemError` (refused, timed out) or `LabError` for what is no HTTP.
    public static func request(
        _ method: String, _ path: String, headers: [String: String] = [:], body: [UInt8]? = nil, at address: HostPort,
        in namespace: Namespace, within limit: Duration = .seconds(6)
    ) async throws -> HTTPResponse {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
        let message = Array((head + "\r\n").utf8) + (body ?? [])
        return try await offloading {
            let connection = try TCPConnection(to: address, in: namespace, within: limit)
            try connection.send(message)
            return try parse(try connection.receiveToEnd(limit: 8 << 20))
        }
    }

    /// Takes a whole response, as it stands when the server closed the connection.
    static func parse(_ bytes: [UInt8]) throws(LabError) -> HTTPResponse {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
            throw LabError("the answer is no HTTP: \"\(String(decoding: bytes.prefix(200), as: UTF8.self))\"")
        }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw LabError("the answer is no HTTP: \"\(lines.first ?? "")\"")
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        var body = Array(bytes[end.upperBound...])
        if headers["transfer-encoding"]?.lowercased() == "chunked" {
            body = try unchunked(body)
        } else if let length = headers["content-length"].flatMap({ Int($0) }) {
            guard body.count >= length else { throw LabError("the body has \(body.count) bytes of \(length)") }
            body = Array(body[..<length])
        }
        return HTTPResponse(status: status, headers: headers, body: body)
    }

    private static func unchunked(_ bytes: [UInt8]) throws(LabError) -> [UInt8] {
        var rest = bytes[...]
        var body: [UInt8] = []
        while let end = rest.firstRange(of: Array("\r\n".utf8)) {
            let size = rest[..<end.lowerBound].prefix { $0 != UInt8(ascii: ";") }
            guard let count = Int(String(decoding: size, as: UTF8.self), radix: 16), count >= 0 else { break }
            if count == 0 { return body }
            rest = rest[end.upperBound...]
            guard rest.count >= count + 2 else { break }
            body += rest.prefix(count)
            rest = rest.dropFirst(count + 2)
        }
        throw LabError("the chunked body is cut")
    }
}
