import RaftRig

/// What must never be, and whether it has been.
struct Violation: Error, CustomStringConvertible {
    enum Kind: Sendable { case twoVotes, twoLeaders, twoLeases, lostWrite }

    var kind: Kind
    var description: String
}

/// What a cluster has shown to the outside: votes that left a server, leaders, and writes that clients were told of.
struct Ledger {
    private struct Term: Hashable {
        var server: Int
        var term: UInt64
    }

    /// What stands at an index, as somebody was told who led in `by`.
    struct Known {
        var term: UInt64
        var by: UInt64
    }

    private var votes: [Term: Int] = [:]
    private var leaders: [UInt64: Int] = [:]
    /// From index 1 on: what was committed when a leader had an entry of its own term acknowledged.
    private(set) var known: [Known] = []
    private(set) var acknowledgements = 0
    private(set) var violations: [Violation] = []

    mutating func note(_ kind: Violation.Kind, _ description: String) {
        violations.append(Violation(kind: kind, description: description))
    }

    func has(_ kind: Violation.Kind) -> Bool { violations.contains { $0.kind == kind } }

    /// A vote leaves a server, beyond recall.
    mutating func left(of server: Int, in term: UInt64, for candidate: Int) {
        let before = votes.updateValue(candidate, forKey: Term(server: server, term: term))
        if let before, before != candidate {
            note(.twoVotes, "server \(server) voted for \(before) and \(candidate) in term \(term)")
        }
    }

    /// A server leads.
    ///
    /// - Returns: whether it is new.
    mutating func leads(_ server: Int, in term: UInt64, rig: Rig) -> Bool {
        let before = leaders[term]
        guard before != server else { return false }
        leaders[term] = before ?? server
        if let before { note(.twoLeaders, "servers \(before) and \(server) lead term \(term)") }
        compare(server, in: term, rig: rig)
        return true
    }

    /// A leader's log has all that anybody was told before.
    private mutating func compare(_ server: Int, in term: UInt64, rig: Rig) {
        for (position, entry) in known.enumerated() where entry.by < term {
            let found = rig.log(server, UInt64(position + 1))
            guard found?.term != entry.term else { continue }
            note(
                .lostWrite,
                "server \(server) leads term \(term) and has \(found.map { "one of term \($0.term)" } ?? "nothing") at "
                    + "index \(position + 1), where one of term \(entry.term) was committed and told in term \(entry.by)"
            )
            return
        }
    }

    /// A client is told that its write is done; by that readers may see all that stands before it.
    mutating func acknowledges(_ outcome: rig_outcome, rig: Rig) {
        acknowledgements += 1
        let server = Int(outcome.server)
        for index in 1...outcome.index {
            guard let entry = rig.log(server, index) else { continue }
            let position = Int(index) - 1
            if position < known.count {
                guard known[position].term != entry.term else { continue }
                note(
                    .lostWrite,
                    "at index \(index) an entry of term \(known[position].term) was told in term \(known[position].by), and one "
                        + "of term \(entry.term) in term \(outcome.term)")
            } else {
                known.append(Known(term: entry.term, by: outcome.term))
            }
        }
        for (term, leader) in leaders where term > outcome.term && rig.isLeader(leader) {
            if rig.state(leader).term == term { compare(leader, in: term, rig: rig) }
        }
    }
}
