import API
import Cluster
import Platform

extension DaemonControl {
    func backup() async throws -> BackupDocument {
        let addresses = try await virtualAddresses()
        let status = await status()
        return BackupDocument(
            createdAt: WallTime.now, createdBy: Version.product,
            cluster: .init(name: status.clusterName, id: status.clusterID),
            configuration: .init(addresses: addresses), nodes: status.clusterMembers)
    }

    /// One change of the cluster, so one transaction: all of the backup is there then, or nothing of it.
    func restore(_ configuration: BackupDocument.Configuration) async throws {
        for (index, text) in configuration.addresses.enumerated() {
            do {
                _ = try Self.checked([text])
            } catch {
                throw ControlError(.invalid, "configuration.addresses[\(index)]: \(error)")
            }
        }
        do {
            try await setVirtualAddresses(configuration.addresses, ifOneOf: nil)
        } catch let error as ControlError where error.kind == .invalid {
            throw ControlError(.invalid, "configuration.addresses: \(error)")
        }
    }

    func databaseFile() async throws -> [UInt8] {
        do {
            return try await cluster.databaseFile()
        } catch {
            throw ControlError(.unavailable, "\(error)")
        }
    }
}
