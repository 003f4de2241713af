import Platform

/// Keeps a connection to whoever leads, with a database open.
///
/// One body has it at a time; others wait in their order. A body that throws costs the connection, so that no
/// transaction it left open is handed to the next.
public actor LeaderConnection {
    /// Connects to the node with this address, within the given time.
    public typealias Connector = @Sendable (_ address: String, _ timeout: Duration) async throws -> DqliteClient

    /// How often the answer to "who leads?" is followed before the asked ones are asked anew.
    private static let maximumHops = 3
    private static let firstPause = Duration.milliseconds(10)
    private static let longestPause = Duration.milliseconds(250)

    private let database: String
    private let timeout: Duration
    private let attemptTimeout: Duration
    private let connector: Connector
    private let gate = FIFOGate()
    private var addresses: [String]
    private var current: DqliteClient?
    private var isClosed = false

    /// Connects to nothing yet.
    ///
    /// Any member among `addresses` leads to the leader. `timeout` is that of a `withLeader` that names none;
    /// `attemptTimeout` is for connecting to one node and asking it: a dead address costs that much at most.
    public init(
        addresses: [String], database: String, timeout: Duration = .seconds(10),
        attemptTimeout: Duration = .seconds(2), connector: @escaping Connector
    ) {
        self.addresses = addresses
        self.database = database
        self.timeout = timeout
        self.attemptTimeout = attemptTimeout
        self.connector = connector
    }

    /// Replaces the addresses that are asked; an open connection stays.
    public func update(addresses: [String]) {
        self.addresses = addresses
    }

    /// Runs `body` with a connection to the leader.
    ///
    /// `body` is run again when it failed because its node does not lead (any more) or the connection was gone, and
    /// nothing that it asked for can have had an effect. What may have been executed is never repeated: such an
    /// error (`mayHaveBeenExecuted`, `leadershipLost` above all) is thrown, and so is any other. `body` must not call
    /// `withLeader` of the same object: it would wait for itself.
    ///
    /// No new attempt starts after `timeout`. Throws what `body` throws, and `notLeader` or the last failure when no
    /// leader was found in time.
    @discardableResult
    public func withLeader<T: Sendable>(
        timeout: Duration? = nil, _ body: @Sendable (DqliteClient) async throws -> T
    ) async throws -> T {
        let deadline = BootClock.now.advanced(by: timeout ?? self.timeout)
        return try await gate.run {
            var pause = Self.firstPause
            while true {
                let failure: any Error
                do {
                    return try await self.attempt(deadline, body)
                } catch let error as DqliteError where Self.repeats(error) {
                    failure = error
                }
                guard BootClock.now.advanced(by: pause) < deadline else { throw failure }
                try await Task.sleep(for: pause)
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }

    /// Closes the connection, for good.
    public func close() async {
        isClosed = true
        await drop()
    }

    private func attempt<T: Sendable>(
        _ deadline: BootInstant, _ body: @Sendable (DqliteClient) async throws -> T
    ) async throws -> T {
        let client = try await leader(deadline)
        let effects = await client.effects
        do {
            return try await body(client)
        } catch {
            let hadEffect = await client.effects != effects
            await drop()
            guard var failure = error as? DqliteError, Self.repeats(failure), hadEffect else { throw error }
            // Repeating the whole body would repeat what it did before this failure.
            failure.mayHaveBeenExecuted = true
            throw failure
        }
    }

    private static func repeats(_ error: DqliteError) -> Bool {
        if error.mayHaveBeenExecuted { return false }
        return [.notLeader, .noDatabase, .connectionClosed, .connectFailed].contains(error.code)
    }

    private func drop() async {
        let client = current
        current = nil
        await client?.close()
    }

    // MARK: - Finding the leader

    private func leader(_ deadline: BootInstant) async throws -> DqliteClient {
        if isClosed { throw DqliteError(.misuse, "the leader connection is closed") }
        if let current { return current }
        var (client, address) = try await askAll(addresses, deadline)
        // The one that answered may itself lead.
        for _ in 0..<Self.maximumHops {
            do {
                guard let named = try await client.leader(timeout: patience(deadline))?.address else {
                    throw DqliteError(.notLeader, "\(address) knows no leader any more")
                }
                if named == address {
                    try await client.open(database, timeout: patience(deadline))
                    if isClosed { throw DqliteError(.misuse, "the leader connection is closed") }
                    current = client
                    return client
                }
                await client.close()
                address = named
                client = try await connector(named, patience(deadline))
            } catch {
                await client.close()
                throw Self.asFailedAttempt(error, address)
            }
        }
        await client.close()
        throw DqliteError(.notLeader, "the members do not agree who leads; the last named was \(address)")
    }

    /// Asks all at once; the first that knows a leader is followed. A dead address delays nobody.
    private func askAll(_ addresses: [String], _ deadline: BootInstant) async throws -> (DqliteClient, String) {
        let connector = connector
        let patience = patience(deadline)
        typealias Answer = Result<(client: DqliteClient, address: String), DqliteError>
        return try await withThrowingTaskGroup(of: Answer.self) { group in
            for address in addresses {
                group.addTask {
                    var connected: DqliteClient?
                    do {
                        let client = try await connector(address, patience)
                        connected = client
                        guard let leader = try await client.leader(timeout: patience) else {
                            await client.close()
                            return .failure(DqliteError(.notLeader, "\(address) knows no leader"))
                        }
                        if leader.address == address { return .success((client, address)) }
                        await client.close()
                        connected = nil
                        return .success((try await connector(leader.address, patience), leader.address))
                    } catch {
                        await connected?.close()
                        return .failure(Self.asFailedAttempt(error, address))
                    }
                }
            }
            var found: (DqliteClient, String)?
            var failures: [DqliteError] = []
            while let answer = try await group.next() {
                switch answer {
                case .success(let (client, address)):
                    if found == nil {
                        found = (client, address)
                        group.cancelAll()
                    } else {
                        await client.close()
                    }
                case .failure(let error): failures.append(error)
                }
            }
            if let found { return found }
            try Task.checkCancellation()
            let reasons = failures.map(\.message).sorted().joined(separator: "; ")
            throw DqliteError(
                .notLeader, reasons.isEmpty ? "there is no address to ask" : "no leader found: \(reasons)",
                remedy: "see whether a majority of the voters is up")
        }
    }

    /// Whatever went wrong while looking for the leader, no statement of the caller had been sent.
    private static func asFailedAttempt(_ error: any Error, _ address: String) -> DqliteError {
        guard var failure = error as? DqliteError else {
            return DqliteError(.connectFailed, "no connection to \(address)", cause: error)
        }
        failure.mayHaveBeenExecuted = false
        if failure.code == .timedOut {
            return DqliteError(.connectFailed, "\(address) does not answer", cause: failure)
        }
        return failure
    }

    private func patience(_ deadline: BootInstant) -> Duration {
        min(attemptTimeout, max(.milliseconds(1), BootClock.now.duration(to: deadline)))
    }
}
