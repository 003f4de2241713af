/// A failure of a node, a connection or a request, with what it was about and what can be done.
public struct DqliteError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure. A struct, so that later versions can add kinds without breaking a `switch`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String

        /// The asked node does not lead: nothing was executed, ask the leader.
        public static let notLeader = Code(description: "not leader")
        /// Leadership went while the statement was pending: it may or may not be committed.
        public static let leadershipLost = Code(description: "leadership lost")
        /// Another write transaction, checkpoint or membership change is going on; nothing was executed.
        public static let busy = Code(description: "busy")
        /// No database is open on the connection, or no statement has this id. Also after a loss of leadership.
        public static let noDatabase = Code(description: "no database")
        /// The leader's disk is full.
        public static let noSpace = Code(description: "no space")
        /// SQLite refused the statement.
        public static let sql = Code(description: "SQL error")
        /// A constraint of the schema refused the statement.
        public static let constraint = Code(description: "constraint")
        /// The node could not parse the request.
        public static let parse = Code(description: "parse")
        /// Raft refused a change of members or a transfer of leadership.
        public static let membership = Code(description: "membership refused")
        /// No answer before the deadline. See `mayHaveBeenExecuted`.
        public static let timedOut = Code(description: "timed out")
        /// The connection is closed. See `mayHaveBeenExecuted`.
        public static let connectionClosed = Code(description: "connection closed")
        /// No connection could be made.
        public static let connectFailed = Code(description: "connect failed")
        /// Bytes that are not the dqlite protocol, or beyond a limit.
        public static let protocolViolation = Code(description: "protocol violation")
        /// The request cannot be put on the wire, or the object is used in a way it does not allow.
        public static let misuse = Code(description: "misuse")
        /// libdqlite could not create the node.
        public static let nodeCreate = Code(description: "node create")
        /// libdqlite could not start the node.
        public static let nodeStart = Code(description: "node start")
        /// libdqlite could not stop the node.
        public static let nodeStop = Code(description: "node stop")
        /// The calling task was cancelled. See `mayHaveBeenExecuted`.
        public static let cancelled = Code(description: "cancelled")
    }

    public var code: Code
    /// What failed, on what, in words.
    public var message: String
    /// The failure code of the node's answer (an SQLite or dqlite code), or libdqlite's return value; nil when the
    /// failure is ours.
    public var rawCode: UInt64?
    /// The failure beneath this one.
    public var cause: (any Error)?
    /// What the operator or the caller can do about it.
    public var remedy: String?
    /// Whether the request may have reached the node and taken effect.
    ///
    /// False means that it surely had no effect, and can be repeated safely.
    public var mayHaveBeenExecuted: Bool

    public init(
        _ code: Code, _ message: String, rawCode: UInt64? = nil, cause: (any Error)? = nil, remedy: String? = nil,
        mayHaveBeenExecuted: Bool = false
    ) {
        self.code = code
        self.message = message
        self.rawCode = rawCode
        self.cause = cause
        self.remedy = remedy
        self.mayHaveBeenExecuted = mayHaveBeenExecuted
    }

    /// The leader's disk did not take the entry: SQLITE_IOERR_WRITE for a full one, SQLITE_IOERR for any other fault (`apply_cb`
    /// in leader.c). libraft goes on all the same, and is not to be trusted after that.
    public var isFailedWrite: Bool { rawCode == 778 || rawCode == 10 }

    public var description: String {
        var text = "\(code): \(message)"
        if let rawCode { text += " (code \(rawCode))" }
        if let cause { text += ": \(cause)" }
        if mayHaveBeenExecuted { text += "; it may or may not have been executed" }
        if let remedy { text += "; \(remedy)" }
        return text
    }
}

extension DqliteError {
    /// Translates the Failure answer of a node.
    ///
    /// Codes are SQLite's result codes (sqlite.org/rescode.html) and dqlite's own (`protocol.h`). Raft's own
    /// "not leader", 7, leaks out untranslated while leadership is given away; dqlite never reports NOMEM so.
    public static func failure(code raw: UInt64, message: String) -> DqliteError {
        func error(_ code: Code, _ remedy: String? = nil, mayHaveBeenExecuted: Bool = false) -> DqliteError {
            DqliteError(
                code, message.isEmpty ? "the node gave no message" : message, rawCode: raw, remedy: remedy,
                mayHaveBeenExecuted: mayHaveBeenExecuted)
        }
        switch raw {
        case 7, 10250: return error(.notLeader, "ask the leader")
        case 10506:
            return error(
                .leadershipLost, "look at the new leader whether it is committed before repeating it",
                mayHaveBeenExecuted: true)
        case 5: return error(.busy, "repeat it a little later")
        case 12: return error(.noDatabase, "open the database again")
        case 778:
            return error(.noSpace, "free space in the data directory of the leader", mayHaveBeenExecuted: true)
        case 1001, 1005: return error(.parse)
        default:
            // The low byte of an extended SQLite code is its primary code: 19 constraint, 5 busy.
            switch raw & 0xFF {
            case 19 where raw < 0x1_0000: return error(.constraint)
            case 5 where raw < 0x1_0000: return error(.busy, "repeat it a little later")
            case 10 where raw < 0x1_0000:
                return error(.sql, "check the disk of the leader", mayHaveBeenExecuted: true)
            default: return error(.sql)
            }
        }
    }
}
