struct PeerRequest: Codable, Sendable {}
struct PeerReply: Codable, Sendable {}
