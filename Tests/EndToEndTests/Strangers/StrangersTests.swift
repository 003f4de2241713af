import Lab
import Platform
import Testing

extension EndToEnd {
    /// Each is one attack of a host on the wire that has no account and no key. The lead stays, nobody dies, nothing grows, and a client
    /// of the VIP notices nothing.
    @Suite("Strangers")
    struct StrangersTests {
        /// How long an attack goes on that costs the attacker nothing: several leases, silences and rosters.
        static let length: Duration = .seconds(3)
    }
}

extension EndToEnd.StrangersTests {
    @Test(
        "a stranger that does nothing changes nothing: where this fails the machine is too busy for the others to mean anything"
    )
    func nothing() async throws {
        try await withStranger { lab, stranger, vigil in
            try await Task.sleep(for: Self.length * 2)
            try await vigil.nothingHappened("nothing at all")
        }
    }

    @Test("no form of a call hands out an address of the process, takes one in, or opens a back door")
    func code() async throws {
        try await withStranger { lab, stranger, vigil in
            let leader = lab[vigil.before.leader]
            var taken: [String] = []
            for sql in HostileSQL.pointers + HostileSQL.backDoors {
                let answer = try await stranger.query(sql, of: leader)
                let prepared = try await offloading {
                    try? stranger.client(of: leader).call(.prepare, DqliteWire.word(0) + DqliteWire.text(sql))
                }
                for (answer, what) in [(answer, "run"), (prepared, "prepared")] {
                    if let answer, !answer.isFailure { taken.append("\(what): \(sql)") }
                }
            }
            // SQLite takes a pointer that is bound even where the option that forbids it in the text is on.
            let bound: [(String, [DqliteWire.Parameter])] = [
                ("SELECT hex(fts3_tokenizer(?))", [.text("porter")]),
                ("SELECT hex(fts3_tokenizer(?, ?))", [.text("simple"), .blob([UInt8](repeating: 0x41, count: 8))]),
                ("SELECT hex(\"fts3_tokenizer\"(?1, ?2))", [.text("simple"), .blob([UInt8](repeating: 0, count: 8))]),
                ("SELECT * FROM fts3tokenize WHERE input = ?", [.text("hello world")]),
                ("SELECT * FROM 'pragma_optimize'(?)", [.integer(65535)]),
            ]
            for (sql, parameters) in bound {
                let answer = try await stranger.query(sql, parameters, of: leader)
                if let answer, !answer.isFailure { taken.append("run, with what is bound: \(sql)") }
            }
            #expect(taken.isEmpty, "\(taken.count) texts were taken: \(taken.joined(separator: "; "))")
            try await vigil.nothingHappened("pointers and back doors")
        }
    }

    @Test("no single instruction keeps the node's thread: LIKE and its like on long texts, at all nodes at once")
    func instructions() async throws {
        try await withStranger { lab, stranger, vigil in
            var tried = HostileSQL.slowInstructions
            for (subject, pattern) in [(20_000, 20_000), (100_000, 49_000), (500_000, 49_000)] {
                tried.append(HostileSQL.like(subject: subject, pattern: pattern))
            }
            for sql in tried {
                // Whoever leads next is asked already.
                let crowd = try Crowd(of: 3) { member in
                    let client = try stranger.client(of: lab.nodes[member.number], within: .seconds(4))
                    let answer = try client.call(.querySQL, DqliteWire.queryBody(sql))
                    if !answer.isFailure { throw LabError("an answer of type \(answer.type)") }
                    member.pause(.milliseconds(100))
                }
                let start = BootClock.now
                try await eventually("a second of it", within: .seconds(5)) {
                    start.duration(to: BootClock.now) > .seconds(1)
                }
                let tally = try await crowd.end()
                #expect(tally.lastFailure?.contains("of type 7") != true, "was answered: \(sql.prefix(60))")
            }
            try await vigil.nothingHappened("slow instructions")
        }
    }

    @Test("short queries of many clients cost nobody the lead", arguments: [8, 16])
    func crowds(count: Int) async throws {
        try await withStranger { lab, stranger, vigil in
            for sql in [HostileSQL.selfNaming] + HostileSQL.crossJoins {
                let crowd = try stranger.clients(count, asking: sql, of: [lab[vigil.before.leader]])
                try await Task.sleep(for: Self.length)
                let tally = try await crowd.end()
                print("\(count) clients: \(tally): \(sql.prefix(60))")
                #expect(tally.rounds + tally.failures > 0)
            }
            try await vigil.nothingHappened("\(count) clients")
        }
    }

    @Test("nor do as many at every node at once")
    func crowdsEverywhere() async throws {
        try await withStranger { lab, stranger, vigil in
            let crowd = try stranger.clients(48, asking: HostileSQL.selfNaming, of: lab.nodes)
            try await Task.sleep(for: Self.length)
            try await crowd.end()
            try await vigil.nothingHappened("48 clients")
        }
    }
}
