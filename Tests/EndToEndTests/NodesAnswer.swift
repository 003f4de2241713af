import FoundationEssentials
import Lab

/// What GET /v1/nodes answers, as far as tests look at it.
struct NodesAnswer: Decodable {
    struct Node: Decodable {
        var id: UInt64
        var name: String?
        var address: String
        var configuredAddress: String?
        var role: String
        var reachable: Bool?
        var unreachableSince: String?
        var nonVoter: Bool?
        var failureDomain: String?

        enum CodingKeys: String, CodingKey {
            case id, name, address, role, reachable
            case configuredAddress = "configured_address"
            case unreachableSince = "unreachable_since"
            case nonVoter = "non_voter"
            case failureDomain = "failure_domain"
        }
    }

    struct Removed: Decodable {
        var id: UInt64
        var address: String
        var reason: String
    }

    var nodes: [Node]
    var failuresSurvived: Int?
    var summary: String
    var removed: [Removed]

    enum CodingKeys: String, CodingKey {
        case nodes, summary, removed
        case failuresSurvived = "failures_survived"
    }

    func node(_ node: LabNode) -> Node? { nodes.first { $0.address == "\(node.clusterAddress)" } }
    func count(_ role: String) -> Int { nodes.count { $0.role == role } }
}

extension LabNode {
    /// GET /v1/nodes.
    func nodes() async throws -> NodesAnswer {
        let response = try await request("GET", "/v1/nodes", within: .seconds(2))
        guard response.status == 200 else { throw LabError("GET /v1/nodes: \(response.status) \(response.text)") }
        return try JSONDecoder().decode(NodesAnswer.self, from: Data(response.body))
    }

    /// Waits until GET /v1/nodes fulfils a condition.
    @discardableResult
    func nodes(
        _ what: String, within limit: Duration = .seconds(10), _ condition: (NodesAnswer) -> Bool
    ) async throws -> NodesAnswer {
        var last = ""
        do {
            return try await eventually(what, within: limit, every: .milliseconds(50)) {
                let answer = try await self.nodes()
                last = "\(answer)"
                return condition(answer) ? answer : nil
            }
        } catch {
            throw LabError("\(error); node \(number) last said \(last)")
        }
    }
}
