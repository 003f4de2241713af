import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// The routes of backup and restore.
extension APIRoutes {
    func backup() -> [HTTPRequest.Method: Handler] {
        let control = control
        return [
            .get: { _, _ in
                Response(
                    status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-store"],
                    body: ResponseBody(byteBuffer: ByteBuffer(string: try await control.backup().text())))
            }
        ]
    }

    func databaseBackup() -> [HTTPRequest.Method: Handler] {
        let control = control
        return [
            .get: { _, _ in
                Response(
                    status: .ok,
                    headers: [.contentType: "application/vnd.sqlite3", .cacheControl: "no-store"],
                    body: ResponseBody(byteBuffer: ByteBuffer(bytes: try await control.databaseFile())))
            }
        ]
    }

    func restore() -> [HTTPRequest.Method: Handler] {
        let control = control
        return [
            .post: { request, _ in
                let body = try await request.body.collect(upTo: .max)
                let configuration: BackupDocument.Configuration
                do {
                    configuration = try BackupDocument.configuration(in: body.readableBytesView)
                } catch {
                    throw APIError(.badRequest, "\(error)")
                }
                try await control.restore(configuration)
                return try .json(MessageDocument(message: "OK"), .accepted)
            }
        ]
    }
}
