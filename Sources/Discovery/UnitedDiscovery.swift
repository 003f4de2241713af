public import Platform

/// Several sources as one: `--join` beside a `--disco-mode`.
///
/// They are asked at the same time, and the answer is the union, in the order of the sources. A source that fails takes
/// nothing from the others; one that is slow makes them wait, for its own limit of time at most: an answer without it
/// could make a few nodes look like all of them.
public final class UnitedDiscovery: Discovery {
    public let sources: [any Discovery]

    /// The sources come in the order in which their addresses are to stand.
    public init(_ sources: [any Discovery]) {
        self.sources = sources
    }

    public func lookUp() async throws -> [HostPort] {
        let outcomes = await outcomes()
        try Task.checkCancellation()
        var addresses = Union()
        var failures: [(mode: String, error: any Error)] = []
        for (source, outcome) in zip(sources, outcomes) {
            switch outcome {
            case .success(let found): addresses.add(found)
            case .failure(let error): failures.append((source.statistics.mode, error))
            }
        }
        if let first = failures.first, failures.count == sources.count {
            let code = (first.error as? DiscoveryError)?.code ?? .system
            throw DiscoveryError(code, failures.map { "\($0.mode): \($0.error)" }.joined(separator: "; "))
        }
        return addresses.elements
    }

    private func outcomes() async -> [Result<[HostPort], any Error>] {
        await withTaskGroup(of: (Int, Result<[HostPort], any Error>).self) { group in
            for (index, source) in sources.enumerated() {
                group.addTask {
                    do {
                        return (index, .success(try await source.lookUp()))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var outcomes = [Result<[HostPort], any Error>](repeating: .success([]), count: sources.count)
            for await (index, outcome) in group { outcomes[index] = outcome }
            return outcomes
        }
    }

    public func announce(_ announcement: DiscoveryAnnouncement?) {
        for source in sources { source.announce(announcement) }
    }

    public var canClaimFounding: Bool { claimant != nil }

    /// Two stores could give the right to two nodes: only the first is asked.
    private var claimant: (any Discovery)? { sources.first { $0.canClaimFounding } }

    public func claimFounding(of clusterID: String?) async throws -> FoundingClaim {
        guard let claimant else {
            throw DiscoveryError(.unsupported, "\(self) has no store in which the right to found could be claimed")
        }
        return try await claimant.claimFounding(of: clusterID)
    }

    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            for source in sources { group.addTask { await source.run() } }
        }
    }

    public func withdraw() async {
        await withTaskGroup(of: Void.self) { group in
            for source in sources { group.addTask { await source.withdraw() } }
        }
    }

    /// The mode is that of all sources, as in "static+dns"; an error has that of its source before it.
    public var statistics: DiscoveryStatistics {
        let all = sources.map(\.statistics)
        var addresses = Union()
        for one in all { addresses.add(one.lastAddresses) }
        let registrations = all.compactMap(\.isRegistered)
        func joined(_ errors: [String?]) -> String? {
            let texts = zip(all, errors).compactMap { one, error in error.map { "\(one.mode): \($0)" } }
            return texts.isEmpty ? nil : texts.joined(separator: "; ")
        }
        return DiscoveryStatistics(
            mode: all.map(\.mode).joined(separator: "+"), lastContact: all.compactMap(\.lastContact).max(),
            lastAddresses: addresses.elements, lastError: joined(all.map(\.lastError)),
            isRegistered: registrations.isEmpty ? nil : registrations.allSatisfy { $0 },
            announceError: joined(all.map(\.announceError)))
    }

    public var description: String { sources.map { "\($0)" }.joined(separator: " + ") }

    /// Addresses without repetitions, in the order of their first mention.
    private struct Union {
        private(set) var elements: [HostPort] = []
        private var seen: Set<HostPort> = []

        mutating func add(_ addresses: [HostPort]) {
            for address in addresses where seen.insert(address).inserted { elements.append(address) }
        }
    }
}
