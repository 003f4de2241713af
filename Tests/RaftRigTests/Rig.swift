import RaftRig

/// Servers of the installed libraft: `RaftRig.h` without its pointers.
///
/// Not thread-safe: a rig belongs to one test.
final class Rig {
    enum Role: UInt8 { case standby, voter, spare, none }

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let count: Int
    private let rig: OpaquePointer

    /// - Parameters:
    ///   - roles: of servers 1, 2 …, in the configuration that all of them have on their disks.
    ///   - seed: of the election timers; with 0 they are as short as they can be.
    init(_ roles: [Role], seed: UInt64 = 0) throws {
        guard let rig = rig_make(roles.map(\.rawValue), UInt32(roles.count), seed) else {
            throw Failure(description: "no rig of \(roles.count) servers can be made")
        }
        self.rig = rig
        count = roles.count
    }

    deinit { rig_free(rig) }

    private func require(_ status: Int32, _ what: String) throws {
        guard status == 0 else { throw Failure(description: "\(what): \(status)") }
    }

    // MARK: - Running

    func setTime(milliseconds: Int64) { rig_set_time(rig, UInt64(milliseconds)) }
    func start(_ id: Int) throws { try require(rig_start(rig, UInt32(id)), "start \(id)") }
    func crash(_ id: Int, kept: Int) throws { try require(rig_crash(rig, UInt32(id), UInt32(kept)), "crash \(id)") }
    func tick(_ id: Int) { rig_tick(rig, UInt32(id)) }

    /// Ends the oldest write of a disk.
    @discardableResult
    func write(_ id: Int) -> Bool { rig_write(rig, UInt32(id)) }

    // MARK: - Messages

    func take(_ id: Int) -> rig_message? {
        var message = rig_message()
        return rig_take(rig, UInt32(id), &message) ? message : nil
    }

    func entry(_ position: Int, of message: rig_message) -> rig_entry? {
        var entry = rig_entry()
        return rig_message_entry(rig, message.number, UInt32(position), &entry) ? entry : nil
    }

    func deliver(_ message: rig_message) { rig_deliver(rig, message.number) }
    func drop(_ message: rig_message) { rig_drop(rig, message.number) }

    func repeated(_ message: rig_message) -> rig_message {
        var copy = message
        copy.number = rig_repeat(rig, message.number)
        return copy
    }

    /// The signal that ends a process in which the message is delivered and its receiver looks at the time later; 0 for none.
    func signal(of message: rig_message, at milliseconds: Int64) -> Int32 {
        rig_signal_of(rig, message.number, UInt64(milliseconds))
    }

    func timeoutNow(from: Int, to: Int, term: UInt64, index: UInt64, indexTerm: UInt64) -> rig_message {
        var message = rig_message()
        message.number = rig_forge_timeout_now(rig, UInt32(from), UInt32(to), term, index, indexTerm)
        message.kind = UInt32(RIG_TIMEOUT_NOW)
        message.from = UInt32(from)
        message.to = UInt32(to)
        message.term = term
        message.index = index
        message.index_term = indexTerm
        return message
    }

    func heartbeat(from: Int, to: Int, term: UInt64, index: UInt64) -> rig_message {
        var message = rig_message()
        message.number = rig_forge_heartbeat(rig, UInt32(from), UInt32(to), term, index)
        message.kind = UInt32(RIG_APPEND)
        message.from = UInt32(from)
        message.to = UInt32(to)
        message.term = term
        message.index = index
        return message
    }

    // MARK: - Clients

    /// What a client asks for.
    enum Request {
        case write(UInt64)
        case add(Int)
        case assign(Int, Role)
        case remove(Int)
        case transfer(to: Int)
    }

    /// - Returns: the ticket of the outcome; nil when the server refuses, which needs no outcome.
    func ask(_ id: Int, _ request: Request) -> UInt64? {
        var ticket: UInt64 = 0
        let server = UInt32(id)
        let status =
            switch request {
            case .write(let value): rig_apply(rig, server, value, &ticket)
            case .add(let member): rig_add(rig, server, UInt32(member), &ticket)
            case .assign(let member, let role):
                rig_assign(rig, server, UInt32(member), UInt32(role.rawValue), &ticket)
            case .remove(let member): rig_remove(rig, server, UInt32(member), &ticket)
            case .transfer(let member): rig_transfer(rig, server, UInt32(member), &ticket)
            }
        return status == 0 ? ticket : nil
    }

    func outcome() -> rig_outcome? {
        var outcome = rig_outcome()
        return rig_outcome(rig, &outcome) ? outcome : nil
    }

    // MARK: - Reading

    func role(_ id: Int) -> Int { Int(rig_role(rig, UInt32(id))) }
    func isLeader(_ id: Int) -> Bool { role(id) == RIG_LEADER }
    func writes(_ id: Int) -> Int { Int(rig_writes(rig, UInt32(id))) }

    func state(_ id: Int) -> rig_state {
        var state = rig_state()
        rig_read(rig, UInt32(id), &state)
        return state
    }

    func voters(_ id: Int) -> [UInt64] { Self.members(state(id).voters) }

    static func members(_ bits: UInt32) -> [UInt64] { (1...UInt64(RIG_SERVERS)).filter { bits & (1 << $0) != 0 } }

    func log(_ id: Int, _ index: UInt64) -> rig_entry? {
        var entry = rig_entry()
        return rig_log(rig, UInt32(id), index, &entry) ? entry : nil
    }

    func disk(_ id: Int) -> rig_disk {
        var disk = rig_disk()
        rig_read_disk(rig, UInt32(id), &disk)
        return disk
    }

    func diskLog(_ id: Int, _ index: UInt64) -> rig_entry? {
        var entry = rig_entry()
        return rig_disk_log(rig, UInt32(id), index, &entry) ? entry : nil
    }

    /// The commands that a server has applied since it was started.
    func applied(_ id: Int) -> [rig_entry] {
        (0..<rig_applied_count(rig, UInt32(id))).compactMap { position in
            var entry = rig_entry()
            return rig_applied(rig, UInt32(id), position, &entry) ? entry : nil
        }
    }

    /// What the commands on a disk have written.
    func values(onDiskOf id: Int) -> [UInt64] {
        let last = disk(id).last_index
        guard last > 0 else { return [] }
        return (1...last).compactMap { diskLog(id, $0) }.filter { $0.kind == RIG_COMMAND }.map(\.value)
    }
}
