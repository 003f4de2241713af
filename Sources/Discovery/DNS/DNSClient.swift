import Platform
import Synchronization

/// Questions to the name servers of the host, each asked once at a time and only when the last answer is good no more.
final class DNSClient: Sendable {
    /// How long a caller waits for one answer. The resolver keeps its own, shorter limit; this one is for a host so busy
    /// that its thread does not run.
    static let patience = Duration.seconds(7)

    private let now: @Sendable () -> BootInstant
    private let queries: SharedQueries<DNSQuestion, Result<DNSAnswer, DNSFailure>>
    private let memory: Memory

    private final class Memory: Sendable {
        let cache = Mutex(DNSCache())
    }

    convenience init(_ resolver: SystemResolver = SystemResolver()) {
        self.init(now: { BootClock.now }, query: { resolver.answer(to: $0) })
    }

    /// For tests: with a clock and a query of their own; the query may block.
    init(
        now: @escaping @Sendable () -> BootInstant,
        query: @escaping @Sendable (DNSQuestion) -> Result<DNSAnswer, DNSFailure>
    ) {
        let memory = Memory()
        self.now = now
        self.memory = memory
        queries = SharedQueries(threadName: "dns") { question in
            let outcome = query(question)
            // Before the waiters hear of it: who asks then finds it here.
            memory.cache.withLock { $0.store(outcome, of: question, at: now()) }
            return outcome
        }
    }

    /// For tests: how many wait for an answer.
    func waiterCount(of question: DNSQuestion) -> Int { queries.waiterCount(for: question) }

    /// - Throws: `DNSFailure`; `CancellationError`.
    func answer(to question: DNSQuestion, within limit: Duration = patience) async throws -> DNSAnswer {
        let instant = now()
        if let outcome = memory.cache.withLock({ $0.outcome(of: question, at: instant) }) { return try outcome.get() }
        let outcome: Result<DNSAnswer, DNSFailure>
        do {
            outcome = try await queries.value(
                for: question, within: limit, orThrow: DNSFailure(question: question, kind: .timedOut))
        } catch let error as SystemError {
            throw DNSFailure(question: question, kind: .system("\(error)"))
        }
        return try outcome.get()
    }

    /// The addresses of a name, in ascending order whatever the order of the answer: A and AAAA are asked for at once.
    ///
    /// `family`: a name that has addresses of this family answers with them alone, and the others are not waited for, lest
    /// a host with both counts as two; nil takes all. When it cannot be said whether there are any of it, that is an
    /// error, whatever others there are.
    ///
    /// - Returns: the addresses, at least one, and what went wrong besides.
    /// - Throws: `DNSFailures`; `CancellationError`.
    func addresses(
        of name: String, family: IPAddress.Family?, within limit: Duration = patience
    ) async throws -> (addresses: [IPAddress], problem: DNSFailure?) {
        let found = try await withThrowingTaskGroup(
            of: (IPAddress.Family, Result<DNSAnswer, DNSFailure>).self,
            returning: [IPAddress.Family: Result<DNSAnswer, DNSFailure>].self
        ) { group in
            for asked in [IPAddress.Family.v4, .v6] {
                let question = DNSQuestion(name: name, type: asked == .v4 ? .a : .aaaa)
                group.addTask {
                    do {
                        return (asked, .success(try await self.answer(to: question, within: limit)))
                    } catch let failure as DNSFailure {
                        return (asked, .failure(failure))
                    }
                }
            }
            defer { group.cancelAll() }
            var found: [IPAddress.Family: Result<DNSAnswer, DNSFailure>] = [:]
            while let (asked, outcome) = try await group.next() {
                if asked == family, case .success = outcome { return [asked: outcome] }
                found[asked] = outcome
            }
            return found
        }
        return try Self.unite(found, family)
    }

    static func unite(
        _ found: [IPAddress.Family: Result<DNSAnswer, DNSFailure>], _ family: IPAddress.Family?
    ) throws(DNSFailures) -> (addresses: [IPAddress], problem: DNSFailure?) {
        var addresses: Set<IPAddress> = []
        var failures: [DNSFailure] = []
        var isKnown = true
        for asked in [IPAddress.Family.v4, .v6] {
            switch found[asked] {
            case .success(let answer): addresses.formUnion(answer.records.compactMap(\.address))
            case .failure(let failure):
                failures.append(failure)
                if asked == family, !failure.isDefinite { isKnown = false }
            case nil: break
            }
        }
        guard isKnown, !addresses.isEmpty else { throw DNSFailures(list: failures) }
        return (addresses.sorted(), failures.first { !$0.isDefinite })
    }
}

/// Why a name has no addresses: one failure for each type of record that was asked for.
struct DNSFailures: Error, Hashable, Sendable {
    /// Never empty.
    var list: [DNSFailure]
}
