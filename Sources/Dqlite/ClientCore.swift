/// The order of business on one connection: one request at a time, in the order of their coming.
///
/// A request that is given up after it was sent closes the connection: its late answer has no mark to tell it from
/// the next one's.
struct ClientCore {
    typealias RequestID = UInt64

    enum Directive {
        case send([UInt8])
        case complete(RequestID, Result<WireResponse, DqliteError>)
        case close
    }

    private struct Pending {
        var id: RequestID
        var request: WireRequest
        var bytes: [UInt8]
    }

    private struct InFlight {
        var id: RequestID
        var request: WireRequest
        /// Rows of the messages before, and the bytes of all of them.
        var rows: DqliteRows?
        var received = 0
    }

    /// All messages of one answer together, in bytes.
    let answerLimit: Int
    private var queue: [Pending] = []
    private var inFlight: InFlight?
    private(set) var closed: DqliteError?

    init(answerLimit: Int) {
        self.answerLimit = answerLimit
    }

    mutating func submit(_ id: RequestID, _ request: WireRequest, bytes: [UInt8]) -> [Directive] {
        if let closed { return [.complete(id, .failure(Self.closedEarlier(closed)))] }
        queue.append(Pending(id: id, request: request, bytes: bytes))
        return sendNext()
    }

    mutating func received(_ message: WireMessage) -> [Directive] {
        if closed != nil { return [] }
        guard var current = inFlight else {
            return close(DqliteError(.protocolViolation, "a message of type \(message.type) that nobody asked for"))
        }
        current.received += message.body.count
        do throws(DqliteError) {
            guard current.received <= answerLimit else {
                throw DqliteError(.protocolViolation, "the answer is longer than the limit of \(answerLimit) bytes")
            }
            switch try WireResponse(message, answering: current.request) {
            case .failure(let code, let text):
                inFlight = nil
                let error = Self.refine(.failure(code: code, message: text), for: current.request)
                return [.complete(current.id, .failure(error))] + sendNext()
            case .rows(let part, let isLast):
                var rows = current.rows ?? DqliteRows(columns: part.columns, rows: [])
                guard rows.columns == part.columns else {
                    throw DqliteError(.protocolViolation, "the columns changed in the middle of the rows")
                }
                rows.rows.append(contentsOf: part.rows)
                if isLast {
                    inFlight = nil
                    return [.complete(current.id, .success(.rows(rows, isLast: true)))] + sendNext()
                }
                current.rows = rows
                inFlight = current
                return []
            case let response:
                inFlight = nil
                return [.complete(current.id, .success(response))] + sendNext()
            }
        } catch {
            return close(error)
        }
    }

    /// The caller of a request stopped waiting: its deadline passed, or its task was cancelled.
    mutating func giveUp(_ id: RequestID, _ code: DqliteError.Code) -> [Directive] {
        if let index = queue.firstIndex(where: { $0.id == id }) {
            let pending = queue.remove(at: index)
            let error = DqliteError(code, "\(pending.request.type) was still waiting for the requests before it")
            return [.complete(id, .failure(error))]
        }
        guard inFlight?.id == id else { return [] }
        return close(DqliteError(code, "no answer yet; the connection is closed"))
    }

    /// The connection is to end or has ended. Everything pending fails; only the sent request may have had effect.
    mutating func close(_ error: DqliteError) -> [Directive] {
        if closed != nil { return [] }
        closed = error
        var directives: [Directive] = []
        if let current = inFlight {
            var own = error
            own.message = "\(current.request.type): \(error.message)"
            own.mayHaveBeenExecuted = current.request.mayHaveEffect
            directives.append(.complete(current.id, .failure(own)))
        }
        for pending in queue { directives.append(.complete(pending.id, .failure(Self.closedEarlier(error)))) }
        inFlight = nil
        queue = []
        directives.append(.close)
        return directives
    }

    private mutating func sendNext() -> [Directive] {
        guard inFlight == nil, !queue.isEmpty else { return [] }
        let next = queue.removeFirst()
        inFlight = InFlight(id: next.id, request: next.request)
        return [.send(next.bytes)]
    }

    private static func closedEarlier(_ error: DqliteError) -> DqliteError {
        DqliteError(.connectionClosed, "the connection was closed before the request was sent", cause: error)
    }

    /// Code 1 means raft when raft was asked.
    private static func refine(_ error: DqliteError, for request: WireRequest) -> DqliteError {
        var error = error
        switch request {
        case .add, .assign, .remove, .transfer:
            if error.code == .sql { error.code = .membership }
        default: break
        }
        return error
    }
}

extension WireRequest {
    /// Whether the node may be changed by it, as far as can be told from the request alone.
    var mayHaveEffect: Bool {
        switch self {
        case .leader, .client, .open, .prepare, .finalize, .interrupt, .connect, .dump, .cluster, .describe: false
        case .exec, .query, .execSQL, .add, .assign, .remove, .transfer, .weight: true
        case .querySQL(_, let sql, _): Self.mayWrite(sql)
        }
    }

    /// Whether a text of our own is anything else than one statement that reads.
    private static func mayWrite(_ sql: String) -> Bool {
        var tokens = SQLTokenizer(Array(sql.utf8))
        var isFirst = true
        var isOver = false
        do throws(SQLTokenizer.Failure) {
            while let token = try tokens.next() {
                if isOver { return true }
                if case .word(let word) = token {
                    if isFirst, !["select", "values", "with", "explain"].contains(word) { return true }
                    if writers.contains(word) { return true }
                } else if isFirst {
                    return true
                }
                isOver = token == .semicolon
                isFirst = false
            }
        } catch {
            return true
        }
        return isFirst
    }

    private static let writers: Set<String> = ["insert", "replace", "update", "delete", "pragma"]
}
