import FoundationEssentials
public import Platform

/// What `GET /v1/backup` answers and `POST /v1/restore` takes: what the cluster has configured, in JSON that people can read.
public struct BackupDocument: Hashable, Sendable, Codable {
    public static let format = "dqlite-vip-backup"
    /// Of the format that this program writes; it reads this one only.
    public static let currentVersion = 1

    public var format: String
    public var version: Int
    public var createdAt: WallTime
    /// The version of the daemon that wrote it.
    public var createdBy: String
    /// Where it comes from; not restored.
    public var cluster: Cluster
    public var configuration: Configuration
    /// The members of that moment; not restored.
    public var nodes: [ClusterMember]

    public struct Cluster: Hashable, Sendable, Codable {
        public var name: String
        public var id: String

        public init(name: String, id: String) {
            self.name = name
            self.id = id
        }
    }

    /// What a restore puts in the place of what is there.
    public struct Configuration: Hashable, Sendable, Codable {
        /// The virtual addresses as `address/prefix length`, in their order.
        public var addresses: [String]

        public init(addresses: [String]) { self.addresses = addresses }
    }

    public init(
        createdAt: WallTime, createdBy: String, cluster: Cluster, configuration: Configuration, nodes: [ClusterMember]
    ) {
        format = Self.format
        version = Self.currentVersion
        self.createdAt = createdAt
        self.createdBy = createdBy
        self.cluster = cluster
        self.configuration = configuration
        self.nodes = nodes
    }

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case format
        case version
        case createdAt = "created_at"
        case createdBy = "created_by"
        case cluster
        case configuration
        case nodes
    }

    /// For a file: indented, with sorted keys.
    public func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }
}

extension BackupDocument {
    /// Why something is no backup that this program can restore: names the place in it.
    public struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
        public var description: String
    }

    private struct Head: Decodable {
        var format: String
        var version: Int
    }

    private struct Body: Decodable {
        var configuration: Configuration
    }

    private struct Keys: Decodable {
        var configuration: [String: Anything]
    }

    private struct Anything: Decodable {
        init(from decoder: any Decoder) {}
    }

    /// Reads the part of a backup that is restored.
    ///
    /// Strict: what this version does not know it would silently not restore.
    ///
    /// - Throws: `Fault`.
    public static func configuration(in bytes: some Sequence<UInt8>) throws(Fault) -> Configuration {
        let data = Data(bytes)
        guard !data.isEmpty else { throw Fault(description: "the backup is empty") }
        let head = try decode(Head.self, data)
        guard head.format == format else {
            throw Fault(description: "format: \"\(head.format)\" is not \"\(format)\": is it a backup of dqlite-vip?")
        }
        guard head.version == currentVersion else {
            throw Fault(
                description: "version: \(head.version) is not known to this dqlite-vip, which restores version "
                    + "\(currentVersion): restore with the version that wrote it")
        }
        let all = try decode([String: Anything].self, data)
        let known = Set(CodingKeys.allCases.map(\.rawValue))
        if let other = all.keys.filter({ !known.contains($0) }).min() {
            throw Fault(description: "\(other): there is no such field in version \(currentVersion) of a backup")
        }
        if let other = try decode(Keys.self, data).configuration.keys.filter({ $0 != "addresses" }).min() {
            throw Fault(
                description: "configuration.\(other): there is no such field in version \(currentVersion) of a backup")
        }
        return try decode(Body.self, data).configuration
    }

    private static func decode<Value: Decodable>(_ type: Value.Type, _ data: Data) throws(Fault) -> Value {
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch DecodingError.keyNotFound(let key, let context) {
            throw Fault(description: "\(place(context.codingPath + [key])): is missing")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            let path = place(context.codingPath)
            throw Fault(description: "\(path.isEmpty ? "the backup" : path): \(context.debugDescription)")
        } catch {
            throw Fault(description: "the backup is not JSON: is the file whole?")
        }
    }

    /// Like `configuration.addresses[2]`.
    private static func place(_ path: [any CodingKey]) -> String {
        path.reduce("") { text, key in
            if let index = key.intValue { return "\(text)[\(index)]" }
            return text.isEmpty ? key.stringValue : "\(text).\(key.stringValue)"
        }
    }
}
