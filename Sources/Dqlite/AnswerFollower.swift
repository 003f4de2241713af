/// Follows the answers in the byte stream from a node, however it is cut, without keeping their bodies.
struct AnswerFollower: Sendable {
    enum Answer: Hashable, Sendable {
        case database
        case statement(id: UInt32)
        /// Any other, an answer of several Rows messages counted once.
        case other
    }

    /// The header, and the first word of the body.
    private var beginning: [UInt8] = []
    /// What is left of the body behind its first word.
    private var remaining = 0
    /// The newest eight bytes of the body: at its end, the marker of a Rows message.
    private var tail: UInt64 = 0

    mutating func consume(_ bytes: some Collection<UInt8>) -> [Answer] {
        var finished: [Answer] = []
        for byte in bytes {
            if beginning.count < 16 {
                beginning.append(byte)
                if beginning.count == 8, words == 0 { finish(&finished) }
                if beginning.count < 16 { continue }
                remaining = (words - 1) * 8
                tail = word(at: 8)
            } else {
                remaining -= 1
                tail = tail >> 8 | UInt64(byte) << 56
            }
            if remaining == 0 { finish(&finished) }
        }
        return finished
    }

    private var words: Int { Int(UInt32(truncatingIfNeeded: word(at: 0))) }

    private func word(at offset: Int) -> UInt64 {
        beginning.dropFirst(offset).prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func finish(_ finished: inout [Answer]) {
        switch beginning[4] {
        case 4: finished.append(.database)
        case 5: finished.append(.statement(id: UInt32(truncatingIfNeeded: word(at: 8) >> 32)))
        // Another Rows message follows.
        case 7 where tail == 0xEEEE_EEEE_EEEE_EEEE: break
        default: finished.append(.other)
        }
        beginning.removeAll(keepingCapacity: true)
        tail = 0
    }
}
