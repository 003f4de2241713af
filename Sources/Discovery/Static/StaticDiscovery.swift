public import Platform
import Synchronization

/// Discovery from a fixed list of names and addresses: `--join a,b,c`.
///
/// Names are resolved at each look-up, so that a node whose address changed is found again.
public final class StaticDiscovery: Discovery {
    /// The port of the cluster when an entry names none.
    public static let defaultPort: UInt16 = 8800

    /// The list, as it was given.
    public let entries: [HostPort]
    private let family: IPAddress.Family?
    private let resolver: NameResolver
    private let state = Mutex(DiscoveryStatistics(mode: "static"))

    /// The entries are names or addresses; the node's own may be among them. `family` is that of this node's cluster
    /// address: a name that has addresses of this family answers with them alone, lest one dual-stack host counts as two;
    /// nil takes all.
    public init(_ entries: [HostPort], family: IPAddress.Family? = nil, resolver: NameResolver = NameResolver()) {
        self.entries = entries
        self.family = family
        self.resolver = resolver
    }

    /// Parses the values of a repeatable flag, each a comma list of `host`, `host:port`, `[v6]`, `[v6]:port`.
    ///
    /// An empty element is an error and not skipped: it is what an unset shell variable leaves behind.
    ///
    /// - Returns: what could be parsed, without repetitions, in order; and every fault.
    public static func parse(_ values: [String]) -> (entries: [HostPort], faults: [HostPort.ParseError]) {
        var entries: [HostPort] = []
        var faults: [HostPort.ParseError] = []
        for value in values {
            for element in value.split(separator: ",", omittingEmptySubsequences: false) {
                let text = element.drop(while: \.isWhitespace).trimmingSuffix(while: \.isWhitespace)
                do throws(HostPort.ParseError) {
                    let entry = try HostPort(parsing: text, defaultPort: defaultPort)
                    if !entries.contains(entry) { entries.append(entry) }
                } catch {
                    faults.append(error)
                }
            }
        }
        return (entries, faults)
    }

    public func lookUp() async throws -> [HostPort] {
        let (addresses, errors) = await resolveAll()
        try Task.checkCancellation()
        let failure = errors.isEmpty ? nil : errors.map(\.message).joined(separator: "; ")
        state.withLock { state in
            state.lastError = failure
            if !addresses.isEmpty || errors.isEmpty {
                state.lastContact = .now
                state.lastAddresses = addresses
            }
        }
        if addresses.isEmpty, let first = errors.first, let failure {
            throw DiscoveryError(first.code, "none of the join addresses can be resolved: \(failure)")
        }
        return addresses
    }

    public var statistics: DiscoveryStatistics { state.withLock { $0 } }

    public var description: String {
        entries.isEmpty ? "static, no addresses" : "static: " + entries.map(\.description).joined(separator: ", ")
    }

    /// All entries at once: a name that does not answer delays the others by no more than the limit, once.
    private func resolveAll() async -> (addresses: [HostPort], errors: [DiscoveryError]) {
        let resolver = resolver
        let answers = await withTaskGroup(
            of: (Int, Result<[IPAddress], DiscoveryError>).self, returning: [Result<[IPAddress], DiscoveryError>].self
        ) { group in
            for (index, entry) in entries.enumerated() {
                group.addTask {
                    do {
                        return (index, .success(try await resolver.addresses(of: entry.host)))
                    } catch let error as DiscoveryError {
                        return (index, .failure(error))
                    } catch {
                        return (index, .failure(DiscoveryError(.system, "cannot resolve \"\(entry.host)\": \(error)")))
                    }
                }
            }
            var answers = [Result<[IPAddress], DiscoveryError>](repeating: .success([]), count: entries.count)
            for await (index, answer) in group { answers[index] = answer }
            return answers
        }
        var addresses: [HostPort] = []
        var seen: Set<HostPort> = []
        var errors: [DiscoveryError] = []
        for (entry, answer) in zip(entries, answers) {
            switch answer {
            case .success(let found):
                let ours = found.filter { $0.family == family }
                for address in ours.isEmpty ? found : ours {
                    let candidate = HostPort(host: address.description, port: entry.port)
                    if seen.insert(candidate).inserted { addresses.append(candidate) }
                }
            case .failure(let error):
                if !errors.contains(error) { errors.append(error) }
            }
        }
        return (addresses, errors)
    }
}

extension Substring {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
        var result = self
        while let last = result.last, predicate(last) { result.removeLast() }
        return result
    }
}
