import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOFoundationEssentialsCompat
import Platform

/// Which request asks what of the control plane.
struct APIRoutes: Sendable {
    typealias Handler = @Sendable (Request, APIContext) async throws -> Response

    let control: any ControlPlane
    let limits: APILimits
    let logger: Logger

    func makeRouter() -> Router<APIContext> {
        let router = Router(context: APIContext.self)
        router.add(middleware: ErrorMiddleware(logger: logger))
        router.add(middleware: BodyMiddleware(limits: limits))
        let control = control
        add("status", [.get: { _, _ in try .json(await control.status()) }], to: router)
        let clear: Handler = { request, _ in
            try await control.setVirtualAddresses([], ifOneOf: try AddressesTag.wanted(by: request))
            return try .json(MessageDocument(message: "OK"), .accepted)
        }
        // The one address of the original; of several it shows the first.
        add(
            "vip",
            [
                .get: { _, _ in
                    let addresses = try await control.virtualAddresses()
                    return try .json(
                        VIPDocument(vip: addresses.first ?? ""), headers: AddressesTag(addresses: addresses).headers)
                },
                .put: { request, _ in
                    let vip = try await Self.vip(in: request)
                    try await control.setVirtualAddresses(
                        vip.isEmpty ? [] : [vip], ifOneOf: try AddressesTag.wanted(by: request))
                    return try .json(MessageDocument(message: "OK"), .accepted)
                },
                .delete: clear,
            ], to: router)
        add(
            "v1/vip",
            [
                .get: { _, _ in
                    let addresses = try await control.virtualAddresses()
                    return try .json(
                        AddressesDocument(addresses: addresses), headers: AddressesTag(addresses: addresses).headers)
                },
                .put: { request, _ in
                    try await control.setVirtualAddresses(
                        try await Self.addresses(in: request), ifOneOf: try AddressesTag.wanted(by: request))
                    return try .json(MessageDocument(message: "OK"), .accepted)
                },
                .delete: clear,
            ], to: router)
        add(
            "v1/failover",
            [
                .post: { request, _ in
                    try .json(try await control.failOver(to: try await Self.successor(in: request)))
                }
            ], to: router)
        add("v1/nodes", [.get: { _, _ in try .json(await control.nodes()) }], to: router)
        add(
            "v1/nodes/:node",
            [
                .get: { _, context in
                    let node = try Self.node(in: context)
                    let found = await control.nodes().nodes.filter { $0.isMeant(by: node) }
                    guard found.count == 1, let member = found.first else {
                        throw APIError(
                            found.isEmpty ? .notFound : .badRequest,
                            found.isEmpty
                                ? "\"\(node)\" is no member of the cluster: GET /v1/nodes lists them"
                                : "\"\(node)\" names \(found.count) nodes: give an id")
                    }
                    return try .json(member)
                },
                .delete: { request, context in
                    let force = try Self.flag("force", in: request)
                    return try .json(try await control.removeNode(try Self.node(in: context), force: force))
                },
            ], to: router)
        add("v1/backup", backup(), to: router)
        add("v1/backup/database", databaseBackup(), to: router)
        add("v1/restore", restore(), to: router)
        add(
            "metrics",
            [
                .get: { _, _ in
                    let text = MetricsText(await control.status()).description
                    return Response(
                        status: .ok, headers: [.contentType: MetricsText.contentType, .cacheControl: "no-store"],
                        body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
                }
            ], to: router)
        let health: Handler = { _, _ in
            let report = await control.health()
            return try .json(report, report.isAlive ? .ok : .serviceUnavailable)
        }
        let readiness: Handler = { _, _ in
            let report = await control.readiness()
            return try .json(report, report.isReady ? .ok : .serviceUnavailable)
        }
        add("healthz", [.get: health], to: router)
        add("readyz", [.get: readiness], to: router)
        return router
    }

    /// Registers the handlers of one path, bounded in time; HEAD for its GET; and 405 for every other method.
    private func add(_ path: RouterPath, _ handlers: [HTTPRequest.Method: Handler], to router: Router<APIContext>) {
        let limit = limits.requestTime
        var handlers = handlers.mapValues { handler -> Handler in
            { request, context in
                do {
                    return try await withTimeLimit(limit) { try await handler(request, context) }
                } catch is TimeLimitExceeded {
                    throw APIError(
                        .serviceUnavailable,
                        "no answer within \(limit), a change may still take effect: has the cluster a quorum? see /status"
                    )
                }
            }
        }
        if let get = handlers[.get] {
            handlers[.head] = { request, context in
                try await get(request, context).createHeadResponse()
            }
        }
        let allowed = handlers.keys.map(\.rawValue).sorted().joined(separator: ", ")
        for method: HTTPRequest.Method in [.get, .head, .put, .post, .delete, .patch, .options, .trace, .connect] {
            let handler = handlers[method]
            router.on(path, method: method) { request, context in
                if let handler { return try await handler(request, context) }
                throw APIError(
                    .methodNotAllowed, "\(method.rawValue) is not possible on \(request.uri.path): use \(allowed)",
                    headers: [.allow: allowed])
            }
        }
    }

    private static func node(in context: APIContext) throws -> String {
        guard let text = context.parameters.get("node").flatMap({ PercentEncoding.decode($0) }), !text.isEmpty else {
            throw APIError(.badRequest, "the path names no node: give /v1/nodes/ID")
        }
        return text
    }

    /// A parameter of the query: absent, empty, true or false.
    private static func flag(_ name: String, in request: Request) throws -> Bool {
        switch request.uri.queryParameters[Substring(name)].map(String.init) {
        case nil, "false", "0": return false
        case "", "true", "1": return true
        case let other?:
            throw APIError(.badRequest, "\(name)=\(other): give \(name)=true, or leave it out")
        }
    }

    /// Reads `{"to":"…"}`; no body at all, and no "to", leave the choice to the leader.
    private static func successor(in request: Request) async throws -> String? {
        let body = try await request.body.collect(upTo: .max)
        guard body.readableBytes > 0 else { return nil }
        do {
            let to = try JSONDecoder().decode(FailoverDocument.self, from: Data(body.readableBytesView)).to
            return to?.isEmpty == true ? nil : to
        } catch {
            throw APIError(
                .badRequest, #"expected no body, {} or {"to":"ID, NAME OR ADDRESS OF A VOTER"}: \#(error)"#)
        }
    }

    private static func vip(in request: Request) async throws -> String {
        try await document(
            VIPDocument.self, in: request, key: "vip", kind: "a text",
            expected: #"expected {"vip":"ADDRESS/PREFIX LENGTH"}, like {"vip":"192.0.2.10/24"}, or {"vip":""} for none"#
        ).vip
    }

    private static func addresses(in request: Request) async throws -> [String] {
        try await document(
            AddressesDocument.self, in: request, key: "addresses", kind: "a list of texts",
            expected: #"expected {"addresses":["ADDRESS/PREFIX LENGTH",…]}, like {"addresses":["192.0.2.10/24"]}, "#
                + #"or {"addresses":[]} for none"#
        ).addresses
    }

    /// Reads a JSON object of one key, whatever the content type says: curl -d announces a form.
    private static func document<Document: Decodable>(
        _ type: Document.Type, in request: Request, key: String, kind: String, expected: String
    ) async throws -> Document {
        let body = try await request.body.collect(upTo: .max)
        guard body.readableBytes > 0 else { throw APIError(.badRequest, "the body is empty: \(expected)") }
        do {
            return try JSONDecoder().decode(type, from: Data(body.readableBytesView))
        } catch DecodingError.keyNotFound {
            throw APIError(.badRequest, "the body has no \"\(key)\": \(expected)")
        } catch DecodingError.typeMismatch(_, let context) where context.codingPath.isEmpty {
            throw APIError(.badRequest, "the body is not a JSON object: \(expected)")
        } catch DecodingError.valueNotFound(_, let context) where context.codingPath.isEmpty {
            throw APIError(.badRequest, "the body is not a JSON object: \(expected)")
        } catch DecodingError.typeMismatch, DecodingError.valueNotFound {
            throw APIError(.badRequest, "\"\(key)\" is not \(kind): \(expected)")
        } catch {
            throw APIError(.badRequest, "the body is not JSON: \(expected)")
        }
    }
}

extension ClusterMember {
    /// Whether a text is its id, node id, name or address, as with the command line.
    fileprivate func isMeant(by text: String) -> Bool {
        let host = (try? HostPort(parsing: address))?.host
        return [String(id), nodeID, name, address, host].contains(text)
    }
}

extension Response {
    /// JSON with sorted keys and a line end, as a terminal likes it.
    static func json(
        _ value: some Encodable, _ status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var buffer = ByteBuffer(bytes: try encoder.encode(value))
        buffer.writeStaticString("\n")
        var headers = headers
        headers[.contentType] = "application/json"
        headers[.cacheControl] = "no-store"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: buffer))
    }
}
