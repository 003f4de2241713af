public import Platform
import Synchronization

/// `--disco-mode dns-srv`: the nodes are the targets of SRV records (RFC 2782), each with a port of its own.
///
/// `--disco-config` has the fields `name` ("dqlite-vip") and `service` ("dqlite-vip"): asked for is `_service._tcp.name`.
public final class DNSServiceDiscovery: DiscoveryBackend {
    public struct Configuration: Hashable, Sendable {
        /// Resolved with the host's search domains, unless it ends with a dot.
        public var name: String
        /// Without the underscore.
        public var service: String

        public init(name: String = DNSDiscovery.defaultName, service: String = defaultService) {
            self.name = name
            self.service = service
        }
    }

    public static let mode = "dns-srv"
    public static let usesKey = false
    public static let defaultService = "dqlite-vip"

    /// How many targets are resolved at the same time, and at most in one look-up: an answer of 64 KiB could name
    /// thousands.
    static let concurrency = 8
    static let mostTargets = 128

    private let question: DNSQuestion
    private let family: IPAddress.Family?
    private let client: DNSClient
    private let state = Mutex(DiscoveryStatistics(mode: mode))

    public static func configuration(from fields: inout ConfigurationFields) -> Configuration {
        let configuration = Configuration(
            name: fields.dnsName(orElse: DNSDiscovery.defaultName), service: fields.text("service") ?? defaultService)
        let service = configuration.service
        if service.hasPrefix("_") || service.contains(".") {
            fields.fault("service", "\"\(service)\": give the bare name of the service, such as \"\(defaultService)\"")
        } else if let reason = DNSName.fault(in: "_\(service)") {
            fields.fault("service", reason)
        } else if DNSName.fault(in: configuration.name) == nil,
            let reason = DNSName.fault(in: questionName(configuration))
        {
            fields.fault("name", "together with the service \"\(service)\", \(reason)")
        }
        return configuration
    }

    private static func questionName(_ configuration: Configuration) -> String {
        "_\(configuration.service)._tcp.\(configuration.name)"
    }

    public convenience init(_ configuration: Configuration, _ context: DiscoveryContext) {
        self.init(configuration, context, client: DNSClient())
    }

    init(_ configuration: Configuration, _ context: DiscoveryContext, client: DNSClient) {
        question = DNSQuestion(name: Self.questionName(configuration), type: .srv)
        family = context.family
        self.client = client
    }

    /// The services by `order`, the addresses of each in ascending order. Takes fourteen seconds at most, half of them for
    /// the targets.
    public func lookUp() async throws -> [HostPort] {
        do {
            let answer = try await client.answer(to: question)
            let (candidates, problems) = try await candidates(in: answer)
            let problem = problems.isEmpty ? nil : problems.map(\.message).joined(separator: "; ")
            if candidates.isEmpty, let first = problems.first, let problem {
                throw DiscoveryError(first.code, "no target of \"\(question.name)\" can be used: \(problem)")
            }
            state.withLock { $0.note(candidates, problem: problem) }
            return candidates
        } catch let failure as DNSFailure {
            throw note(DiscoveryError([failure]))
        } catch let error as DiscoveryError {
            throw note(error)
        }
    }

    private func note(_ error: DiscoveryError) -> DiscoveryError {
        state.withLock { $0.lastError = error.message }
        return error
    }

    /// By ascending priority, then by descending weight, then by target and port.
    ///
    /// RFC 2782 draws lots among records of one priority, to spread clients over servers. Here every candidate is asked,
    /// so nothing is to be spread, and an order that stays the same shows what changed.
    static func order(_ lhs: DNSService, _ rhs: DNSService) -> Bool {
        if lhs.priority != rhs.priority { return lhs.priority < rhs.priority }
        if lhs.weight != rhs.weight { return lhs.weight > rhs.weight }
        if lhs.target != rhs.target { return lhs.target < rhs.target }
        return lhs.port < rhs.port
    }

    private func candidates(in answer: DNSAnswer) async throws -> (candidates: [HostPort], problems: [DiscoveryError]) {
        let services = Set(answer.records.compactMap(\.service)).sorted(by: Self.order)
        var problems: [DiscoveryError] = []
        var usable: [DNSService] = []
        for service in services {
            if service.target == .root {
                let reason = "its SRV record has the target \".\", which says that the service is not offered"
                problems.append(DiscoveryError(.unresolvable, "\"\(question.name)\": \(reason): name the nodes in it"))
            } else if service.port == 0 {
                let reason = "the SRV record for \"\(service.target)\" has the port 0"
                problems.append(DiscoveryError(.malformed, "\"\(question.name)\": \(reason): correct it"))
            } else {
                usable.append(service)
            }
        }
        var found: [DNSName: [IPAddress]] = [:]
        var unknown: [DNSName] = []
        for target in usable.map(\.target) where found[target] == nil && !unknown.contains(target) {
            if let addresses = accept(answer.additional[target]) {
                found[target] = addresses
            } else if unknown.count < Self.mostTargets {
                unknown.append(target)
            } else {
                let reason = "more than \(Self.mostTargets) targets came without address: the rest is left out"
                problems.append(DiscoveryError(.malformed, "\"\(question.name)\": \(reason)"))
                break
            }
        }
        for (target, outcome) in zip(unknown, try await resolve(unknown)) {
            switch outcome {
            case .success(let (addresses, problem)):
                found[target] = addresses
                if let problem { problems.append(DiscoveryError([problem], role: "the target ")) }
            case .failure(let failures):
                problems.append(DiscoveryError(failures.list, role: "the target "))
            }
        }
        var candidates: [HostPort] = []
        var seen: Set<HostPort> = []
        for service in usable {
            for address in found[service.target] ?? [] {
                let candidate = HostPort(host: address.description, port: service.port)
                if seen.insert(candidate).inserted { candidates.append(candidate) }
            }
        }
        return (candidates, problems)
    }

    /// Addresses that came along with the answer, if they are of the right family: servers leave out what has no room, so
    /// those of the other family alone prove nothing.
    private func accept(_ records: [DNSRecord]?) -> [IPAddress]? {
        let addresses = Set((records ?? []).compactMap(\.address)).filter { family == nil || $0.family == family }
        return addresses.isEmpty ? nil : addresses.sorted()
    }

    private typealias Resolution = Result<(addresses: [IPAddress], problem: DNSFailure?), DNSFailures>

    /// Each target is its own; all have to be there within one client's patience.
    private func resolve(_ targets: [DNSName]) async throws -> [Resolution] {
        let end = ContinuousClock.now.advanced(by: DNSClient.patience)
        return try await withThrowingTaskGroup(of: (Int, Resolution).self) { group in
            func start(_ index: Int) {
                group.addTask { [client, family] in
                    // A target is complete as it is.
                    let name = targets[index].text + "."
                    let limit = max(.zero, ContinuousClock.now.duration(to: end))
                    do {
                        return (index, .success(try await client.addresses(of: name, family: family, within: limit)))
                    } catch let failures as DNSFailures {
                        return (index, .failure(failures))
                    }
                }
            }
            for index in targets.indices.prefix(Self.concurrency) { start(index) }
            var outcomes: [Int: Resolution] = [:]
            var next = Self.concurrency
            while let (index, outcome) = try await group.next() {
                outcomes[index] = outcome
                if next < targets.count { start(next) }
                next += 1
            }
            return targets.indices.compactMap { outcomes[$0] }
        }
    }

    public var statistics: DiscoveryStatistics { state.withLock { $0 } }

    public var description: String { "dns-srv: the targets of \"\(question.name)\"" }
}
