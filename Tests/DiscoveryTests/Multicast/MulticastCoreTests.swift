import Platform
import Testing

@testable import Discovery

@Suite("multicast: questions and answers")
struct MulticastCoreTests {
    private func announced(_ number: Int, secret: String? = nil) -> CoreUnderTest {
        var node = CoreUnderTest(secret: secret, seed: UInt64(number))
        _ = node.handle(.announce(.test(number)))
        node.now = 10_000
        return node
    }

    private func address(_ number: Int) -> HostPort { MulticastRecord.test(number).address }

    @Test(
        "a node that announces nothing does not answer, and one that does answers a question with its record and nonce")
    func answering() {
        let nonce = MulticastNonce(high: 5, low: 6)
        var silent = CoreUnderTest()
        #expect(silent.hear(.question(nonce: nonce, nodeID: "id-2"), from: 2).isEmpty)
        var node = announced(1)
        #expect(
            node.messages(node.hear(.question(nonce: nonce, nodeID: ""), from: 2)) == [
                .answer(nonces: [nonce], .test(1))
            ])
        _ = node.handle(.announce(nil))
        #expect(node.hear(.question(nonce: MulticastNonce(high: 7, low: 8), nodeID: ""), from: 2).sent.isEmpty)
    }

    @Test("a look-up asks, and ends when all who answered did so and nobody new does for 60 ms")
    func lookUp() throws {
        var node = announced(1)
        let nonce = try node.ask()
        node.now += 2
        #expect(node.hear(.answer(nonces: [nonce], .test(3)), from: 3).found == nil)
        node.now += 2
        #expect(node.hear(.answer(nonces: [nonce], .test(2)), from: 2).found == nil)
        #expect(node.pass(to: 10_063).found == nil)
        #expect(node.pass(to: 10_064).found == [address(2), address(3)])
        #expect(node.core.nextDeadline == nil)
    }

    @Test("a look-up without answers asks twice with different nonces, and ends after 250 ms with nobody")
    func nobody() throws {
        var node = announced(1)
        let first = try node.ask()
        let later = node.pass(to: 10_249)
        let questions = node.messages(later)
        #expect(questions.count == 1)
        #expect(questions.allSatisfy { $0.isQuestion && $0 != .question(nonce: first, nodeID: "id-1") })
        #expect(later.found == nil)
        #expect(node.pass(to: 10_250).found == [])
    }

    @Test("a look-up waits for those who answered the last one, and asks again when one of them is silent")
    func silentNode() throws {
        var node = announced(1)
        var nonce = try node.ask()
        for number in [2, 3] { _ = node.hear(.answer(nonces: [nonce], .test(number)), from: number) }
        #expect(node.pass(to: 10_100).found?.count == 2)

        node.now = 11_000
        nonce = try node.ask()
        _ = node.hear(.answer(nonces: [nonce], .test(2)), from: 2)
        let meanwhile = node.pass(to: 11_249)
        #expect(node.messages(meanwhile).filter(\.isQuestion).count == 1)
        #expect(meanwhile.found == nil)
        #expect(node.pass(to: 11_250).found == [address(2), address(3)])
        // Ten seconds after its last answer.
        node.now = 20_001
        _ = try node.ask()
        #expect(node.pass(to: 21_000).found == [address(2)])
    }

    @Test("an answer is believed only when it has a nonce of ours, and for two seconds")
    func onlyOwnNonces() throws {
        var node = announced(1)
        let nonce = try node.ask()
        _ = node.hear(.answer(nonces: [MulticastNonce(high: 1, low: 1)], .test(2)), from: 2)
        #expect(node.pass(to: 10_300).found == [])
        #expect(node.core.counts.otherAnswers == 1)

        node.now = 12_000
        _ = node.hear(.answer(nonces: [MulticastNonce(high: 1, low: 1), nonce], .test(3)), from: 3)
        _ = try node.ask()
        #expect(node.pass(to: 12_300).found == [address(3)])

        node.now = 12_001
        node.now = 14_500
        _ = node.hear(.answer(nonces: [nonce], .test(4)), from: 4)
        _ = try node.ask()
        #expect(node.pass(to: 14_800).found == [address(3)])
    }

    @Test("a recorded answer is worth nothing to a node that asks later, although it is authenticated")
    func replay() throws {
        var (asker, answerer) = (announced(1, secret: "s"), announced(2, secret: "s"))
        let question = try asker.question()
        let recorded = try answerer.reply(to: question, from: 1)
        _ = asker.hear(recorded, from: 2)
        #expect(asker.pass(to: 10_300).found == [address(2)])

        // The same node started anew, and long after: with other nonces.
        var fresh = CoreUnderTest(secret: "s", seed: 99)
        _ = fresh.handle(.lookUp)
        _ = fresh.hear(recorded, from: 2)
        #expect(fresh.pass(to: 300).found == [])
        asker.now = 60_000
        _ = try asker.ask()
        _ = asker.hear(recorded, from: 2)
        #expect(asker.pass(to: 60_300).found == [])
    }

    @Test("a recorded question makes a node answer once, not again and again")
    func replayedQuestion() throws {
        var node = announced(1)
        let question = MulticastMessage.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: "id-2")
        var answers = 0
        for _ in 0..<100 {
            node.now += 100
            answers += node.hear(question, from: 2).sent.count
        }
        #expect(answers == 1)
        #expect(node.core.counts.refusedQuestions == 99)
    }

    @Test("its own datagrams, which the kernel hands back, are neither answered nor found")
    func ownDatagrams() throws {
        var node = announced(1)
        let question = try node.question()
        #expect(node.hear(question, from: 1).isEmpty)
        let others = node.seal.close(.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: "")) ?? []
        let answer = try node.reply(to: others, from: 2)
        #expect(node.hear(answer, from: 1).isEmpty)
        #expect(node.core.counts.own == 2)
        let end = node.pass(to: 10_300)
        #expect(end.found == [])
        #expect(end.trouble == nil)
    }

    @Test("another process with this node's id is not found, and told")
    func copiedDirectory() throws {
        var node = announced(1)
        let nonce = try node.ask()
        var copy = MulticastRecord.test(1)
        copy.address = address(9)
        let note = MulticastNote.sameNode(copy, from: .test(9))
        #expect(node.hear(.answer(nonces: [nonce], copy), from: 9).notes == [note])
        #expect(note.description.contains("10.0.0.9:8800 has this node's id id-1: was the data directory copied?"))
        let end = node.pass(to: 10_300)
        #expect(end.found == [])
        #expect(end.trouble == note)
    }

    @Test("a node that starts, or whose record changes, asks unbidden; one that says the same again does not")
    func unbidden() {
        var node = CoreUnderTest()
        #expect(node.messages(node.handle(.announce(.test(1)))).map(\.isQuestion) == [true])
        node.now = 5000
        #expect(node.handle(.announce(.test(1))).isEmpty)
        #expect(node.messages(node.handle(.announce(.test(1, cluster: "c")))).map(\.isQuestion) == [true])
        node.now = 10_000
        #expect(node.messages(node.handle(.connected)).map(\.isQuestion) == [true])
        var idle = CoreUnderTest()
        #expect(idle.handle(.connected).isEmpty)
    }

    @Test("a stranger's question makes a node that looks for others ask at once, and others not")
    func stranger() throws {
        let question = MulticastMessage.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: "id-2")
        var formed = announced(1)
        #expect(formed.messages(formed.hear(question, from: 2)).filter(\.isQuestion).isEmpty)

        var looking = announced(1)
        _ = try looking.ask()
        _ = looking.pass(to: 10_400)
        let reaction = looking.messages(looking.hear(question, from: 2))
        #expect(reaction.filter(\.isQuestion).count == 1)
        guard case .question(let nonce, _) = reaction.first(where: \.isQuestion) else { return }
        #expect(looking.hear(.answer(nonces: [nonce], .test(2)), from: 2).notes == [.found(.test(2))])
        // Known now, so that its next question is no news.
        let again = MulticastMessage.question(nonce: MulticastNonce(high: 1, low: 2), nodeID: "id-2")
        #expect(looking.messages(looking.hear(again, from: 2)).filter(\.isQuestion).isEmpty)
    }

    @Test("a record that cannot be sent is told once, and not announced")
    func unspeakable() {
        var node = CoreUnderTest()
        var record = MulticastRecord.test(1)
        record.address = HostPort(host: "0.0.0.0", port: 8800)
        #expect(node.handle(.announce(record)) == [.note(.unspeakable(record))])
        #expect(node.hear(.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: ""), from: 2).isEmpty)
    }

    @Test("a node that comes back under another address is told with the new one only")
    func moved() throws {
        var node = announced(1)
        let nonce = try node.ask()
        _ = node.hear(.answer(nonces: [nonce], .test(2)), from: 2)
        var moved = MulticastRecord.test(2)
        moved.address = address(7)
        #expect(node.hear(.answer(nonces: [nonce], moved), from: 7).notes == [.found(moved)])
        #expect(node.pass(to: 10_300).found == [address(7)])
    }

    @Test("a look-up that is wanted while one runs asks nothing more")
    func joinedLookUp() throws {
        var node = announced(1)
        _ = try node.ask()
        node.now += 20
        #expect(node.handle(.lookUp).isEmpty)
        #expect(node.pass(to: 11_000).filter { if case .found = $0 { true } else { false } }.count == 1)
    }
}

@Suite("multicast: those who do not belong")
struct MulticastForeignTests {
    @Test("an invented answer with the right nonce is not believed when there is a secret")
    func forged() throws {
        var node = CoreUnderTest(secret: "s")
        let nonce = try node.ask()
        for secret in [nil, "guess"] {
            let forged = try #require(MulticastSeal(secret: secret).close(.answer(nonces: [nonce], .test(2))))
            _ = node.hear(forged, from: 2)
        }
        let end = node.pass(to: 300)
        #expect(end.found == [])
        #expect(
            end.trouble == .mismatch(.noSecretThere, from: .test(2))
                || end.trouble == .mismatch(.otherSecret, from: .test(2)))
        #expect(node.core.counts.mismatched == 2)
    }

    @Test("another disco key is counted and nothing else")
    func foreignKey() throws {
        var node = CoreUnderTest(secret: "s")
        _ = node.handle(.announce(.test(1)))
        _ = node.handle(.lookUp)
        let other = MulticastSeal("green", secret: "s")
        for message in [
            MulticastMessage.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: "x"),
            .answer(nonces: [MulticastNonce(high: 1, low: 1)], .test(2)), .notice,
        ] {
            #expect(node.hear(try #require(other.close(message)), from: 2).isEmpty)
        }
        #expect(node.hear(Array("anything".utf8), from: 2).isEmpty)
        #expect(node.core.counts.foreign == 4)
        let end = node.pass(to: 300)
        #expect(end.found == [])
        #expect(end.trouble == nil)
    }

    @Test("both sides of a mismatch learn of it, once each, also when one of them never asks")
    func mismatch() throws {
        var formed = CoreUnderTest(secret: "one")
        _ = formed.handle(.announce(.test(1)))
        formed.now = 10_000
        var newcomer = CoreUnderTest(secret: nil)
        newcomer.now = 10_000
        let question = try newcomer.question()
        let reaction = formed.hear(question, from: 2)
        #expect(reaction.notes == [.mismatch(.noSecretThere, from: .test(2))])
        #expect(
            reaction.notes.first?.description
                == "the node at 10.0.0.2 uses no secret for discovery, and this one does: "
                + "give all nodes of a cluster the same \"secret\" in --disco-config")
        let notice = try #require(reaction.sent.first)
        #expect(newcomer.hear(notice, from: 1) == [.note(.mismatch(.noSecretHere, from: .test(1)))])
        let end = newcomer.pass(to: 10_300)
        #expect(end.found == [])
        #expect(end.trouble == .mismatch(.noSecretHere, from: .test(1)))

        // It goes on asking, and nobody says it again; a notice comes every two seconds.
        var notices = 0
        for step in 1...40 {
            (formed.now, newcomer.now) = (10_000 + step * 500, 10_000 + step * 500)
            for bytes in newcomer.handle(.lookUp).sent + newcomer.pass(to: newcomer.now + 300).sent {
                let reaction = formed.hear(bytes, from: 2)
                #expect(reaction.notes.isEmpty)
                for notice in reaction.sent {
                    notices += 1
                    #expect(newcomer.hear(notice, from: 1).isEmpty)
                }
            }
        }
        #expect((10...14).contains(notices))
    }

    @Test("the trouble is over ten seconds after it was last seen, and is new after a minute")
    func mismatchEnds() throws {
        var node = CoreUnderTest(secret: "one")
        let bytes = try #require(
            MulticastSeal(secret: "two").close(.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: "x")))
        #expect(node.hear(bytes, from: 2).notes.count == 1)
        node.now = 9_000
        _ = node.handle(.lookUp)
        #expect(node.pass(to: 9_300).trouble == .mismatch(.otherSecret, from: .test(2)))
        node.now = 20_000
        _ = node.handle(.lookUp)
        #expect(node.pass(to: 20_300).trouble == nil)
        #expect(node.hear(bytes, from: 2).notes.isEmpty)
        node.now = 81_000
        #expect(node.hear(bytes, from: 2).notes.count == 1)
    }

    @Test("malformed datagrams are counted and nothing else")
    func malformed() throws {
        var node = CoreUnderTest()
        let whole = try #require(node.seal.close(.question(nonce: MulticastNonce(high: 1, low: 1), nodeID: "x")))
        #expect(node.hear(Array(whole.dropLast()), from: 2).isEmpty)
        #expect(node.core.counts.malformed == 1)
    }
}

@Suite("multicast: bounds")
struct MulticastBoundsTests {
    private func flood(
        _ node: inout CoreUnderTest, sources: Int, perMillisecond: Int, milliseconds: Int
    ) -> [MulticastMessage] {
        var number: UInt64 = 0
        var sent: [MulticastMessage] = []
        let start = node.now
        for step in 0..<milliseconds {
            sent += node.messages(node.pass(to: start + step))
            for _ in 0..<perMillisecond {
                number += 1
                let question = MulticastMessage.question(
                    nonce: MulticastNonce(high: number, low: 1), nodeID: "x\(number)")
                sent += node.messages(node.hear(question, from: 2 + Int(number) % sources))
            }
        }
        return sent
    }

    @Test("a flood of questions draws at most 20 answers in a second beyond the first 8, however many ask")
    func flood() {
        for sources in [1, 100, 2000] {
            var node = CoreUnderTest()
            _ = node.handle(.announce(.test(1)))
            node.now = 10_000
            let answers = flood(&node, sources: sources, perMillisecond: 2, milliseconds: 1000).filter(\.isAnswer)
            #expect((20...28).contains(answers.count), "\(sources) sources: \(answers.count)")
        }
    }

    @Test("the flood of one source keeps no other from its answer")
    func fairness() {
        var node = CoreUnderTest()
        _ = node.handle(.announce(.test(1)))
        node.now = 10_000
        _ = flood(&node, sources: 1, perMillisecond: 3, milliseconds: 600)
        let nonce = MulticastNonce(high: 0, low: 77)
        var answers = node.messages(node.hear(.question(nonce: nonce, nodeID: ""), from: 77))
        answers += node.messages(node.pass(to: node.now + 60))
        #expect(answers.contains { if case .answer(let nonces, _) = $0 { nonces.contains(nonce) } else { false } })
    }

    @Test("a flood of strangers' questions makes a looking node ask two times in a second, and its own look-ups go on")
    func promptedQuestions() throws {
        var node = CoreUnderTest()
        _ = node.handle(.announce(.test(1)))
        node.now = 10_000
        _ = node.handle(.lookUp)
        let questions = flood(&node, sources: 100, perMillisecond: 2, milliseconds: 1000).filter(\.isQuestion)
        // Two at once, two later, and the second one of the look-up itself.
        #expect((2...5).contains(questions.count))
        _ = try node.ask()
    }

    @Test("many who ask at the same time share answers")
    func shared() {
        var node = CoreUnderTest()
        _ = node.handle(.announce(.test(1)))
        node.now = 10_000
        var answered: [MulticastNonce] = []
        var datagrams = 0
        func take(_ messages: [MulticastMessage]) {
            for case .answer(let nonces, _) in messages {
                datagrams += 1
                answered += nonces
            }
        }
        for number in 1...50 {
            let question = MulticastMessage.question(nonce: MulticastNonce(high: 0, low: UInt64(number)), nodeID: "")
            take(node.messages(node.hear(question, from: number)))
        }
        take(node.messages(node.pass(to: 10_300)))
        #expect(Set(answered).count == 50)
        #expect(answered.count == 50)
        // Eight at once, then 16 nonces each.
        #expect(datagrams == 11)
    }

    @Test("128 nodes are remembered, eight of one source; the oldest goes first")
    func nodes() throws {
        var node = CoreUnderTest()
        let nonce = try node.ask()
        for number in 1...200 {
            node.now += 1
            _ = node.hear(.answer(nonces: [nonce], .test(number)), from: number)
        }
        let end = node.pass(to: 600)
        let found = try #require(end.found)
        #expect(found == (73...200).map { MulticastRecord.test($0).address }.sorted())

        var single = CoreUnderTest()
        let other = try single.ask()
        for number in 1...200 {
            single.now += 1
            _ = single.hear(.answer(nonces: [other], .test(number)), from: 9)
        }
        #expect(single.pass(to: 600).found == (193...200).map { MulticastRecord.test($0).address }.sorted())
    }

    @Test("look-ups without a pause do not ask more than ten times in a second")
    func eagerCaller() throws {
        var node = CoreUnderTest()
        var questions = 0
        while node.now < 3000 {
            let directives = node.handle(.lookUp)
            questions += node.messages(directives).count
            for case .question(let nonce, _) in node.messages(directives) {
                _ = node.hear(.answer(nonces: [nonce], .test(2)), from: 2)
            }
            questions += node.messages(node.pass(to: node.now + 1)).count
        }
        #expect(questions <= 36)
    }

    @Test("log lines are bounded too, whatever comes")
    func logLines() throws {
        var node = CoreUnderTest(secret: "s")
        var lines = 0
        for number in 1...600 {
            node.now += 1
            let bytes = try #require(MulticastSeal(secret: "\(number % 3)").close(.notice))
            lines += node.hear(bytes, from: number).notes.count
        }
        #expect(lines == 16)

        var open = CoreUnderTest()
        let nonce = try open.ask()
        var found = 0
        for number in 1...300 {
            open.now += 1
            found += open.hear(.answer(nonces: [nonce], .test(number)), from: number).notes.count
        }
        #expect(found == 32)
    }
}
