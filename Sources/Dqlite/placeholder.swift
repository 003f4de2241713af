import NIOCore
import NIOPosix
import Platform
public typealias DqliteNodeID = UInt64
public enum DqliteAddress: Sendable, Hashable { case abstractSocket(String), tcp(HostPort)
  public func connectedSocket() throws(SystemError) -> Int32 { 0 } }
public struct ClientRequestVetter { public init() {}
  public enum Verdict { case forward([UInt8]), answer([UInt8]), close(String) }
  public mutating func consume(_ b: some Collection<UInt8>) -> [Verdict] { [] } }
public struct LeaderProbe: ~Copyable { public init(address: DqliteAddress, timeout: Duration) throws {}
  public mutating func poll() throws -> DqliteNodeID { 0 } }
public enum RaftMetadata { public static func term(inDirectory: String) -> UInt64? { nil } }
public enum DqliteValue: Sendable { case integer(Int64), text(String) }
public struct DqliteRows: Sendable { public var rows: [[DqliteValue]] }
public struct DqliteError: Error { public enum Code: Sendable { case sql, constraint, busy }; public var code: Code }
public actor DqliteClient { public var isOpen: Bool { true }
 public static func connect(to: DqliteAddress, on: any EventLoopGroup, timeout: Duration) async throws -> DqliteClient { DqliteClient() }
 public func open(_ n: String) async throws {}
 public func close() async {}
 public func execute(_ s: String, _ p: [DqliteValue]) async throws -> Int { 0 }
 public func query(_ s: String, _ p: [DqliteValue]) async throws -> DqliteRows { .init(rows: []) } }
