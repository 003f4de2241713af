import NIOCore
import NIOPosix
import Platform
import Glibc
public typealias DqliteNodeID = UInt64
public enum DqliteAddress: Sendable, Hashable {
    case abstractSocket(String), tcp(HostPort)
    public func connectedSocket() throws(SystemError) -> Int32 {
        guard case .abstractSocket(let name) = self else { return -1 }
        let d = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var a = sockaddr_un(); a.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &a.sun_path) { p in for (i, b) in name.utf8.enumerated() { p[i + 1] = b } }
        let len = socklen_t(3 + name.utf8.count)
        let r = withUnsafePointer(to: &a) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(d, $0, len) }
        }
        if r != 0 { throw SystemError.last("connect") }
        return d
    }
}
public struct ClientRequestVetter {
    public init() {}
    public enum Verdict { case forward([UInt8]), answer([UInt8]), close(String) }
    public mutating func consume(_ b: some Collection<UInt8>) -> [Verdict] { [] }
}
public struct LeaderProbe: ~Copyable {
    public init(address: DqliteAddress, timeout: Duration) throws {}
    public mutating func poll() throws -> DqliteNodeID { 0 }
}
public enum RaftMetadata { public static func term(inDirectory: String) -> UInt64? { nil } }
public enum DqliteValue: Sendable { case integer(Int64), text(String) }
public struct DqliteRows: Sendable { public var rows: [[DqliteValue]] }
public struct DqliteError: Error { public enum Code: Sendable { case sql, constraint, busy }; public var code: Code }
public actor DqliteClient {
    public var isOpen: Bool { true }
    public static func connect(to: DqliteAddress, on: any EventLoopGroup, timeout: Duration) async throws
        -> DqliteClient
    { DqliteClient() }
    public func open(_ n: String) async throws {}
    public func close() async {}
    public func execute(_ s: String, _ p: [DqliteValue]) async throws -> Int { 0 }
    public func query(_ s: String, _ p: [DqliteValue]) async throws -> DqliteRows { .init(rows: []) }
}
