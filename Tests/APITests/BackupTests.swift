import Platform
import Testing

@testable import API

@Suite("A backup")
struct BackupDocumentTests {
    private static let sample = BackupDocument(
        createdAt: WallTime(milliseconds: 0), createdBy: "0.1.0", cluster: .init(name: "c", id: "uuid"),
        configuration: .init(addresses: ["192.0.2.10/24", "2001:db8::10/64"]),
        nodes: [ClusterMember(id: 1, address: "192.0.2.1:8800", role: .voter)])

    private func fault(_ text: String) -> String {
        do {
            _ = try BackupDocument.configuration(in: text.utf8)
            return ""
        } catch {
            return error.description
        }
    }

    @Test("what was written is read")
    func roundTrip() throws {
        let text = try Self.sample.text()
        #expect(try BackupDocument.configuration(in: text.utf8) == Self.sample.configuration)
        #expect(text.contains("\"format\" : \"dqlite-vip-backup\"") && text.hasSuffix("}\n"))
    }

    @Test("what is none, or of another version, or wrong in a place, is refused with that place")
    func faults() {
        let head = #""format":"dqlite-vip-backup","version":1"#
        #expect(fault("") == "the backup is empty")
        #expect(fault("{\"version\":").contains("not JSON"))
        #expect(fault("[]").contains("the backup"))
        #expect(fault("{}").contains("format: is missing"))
        #expect(fault(#"{"format":"x","version":1}"#).contains("format: \"x\""))
        #expect(fault(#"{"format":"dqlite-vip-backup","version":2}"#).contains("version: 2"))
        #expect(fault("{\(head)}").contains("configuration: is missing"))
        #expect(fault("{\(head),\"configuration\":{}}").contains("configuration.addresses: is missing"))
        #expect(fault("{\(head),\"configuration\":{\"addresses\":[\"a\",7]}}").contains("configuration.addresses[1]"))
        #expect(fault("{\(head),\"configuration\":{\"addresses\":[],\"groups\":[]}}").contains("configuration.groups"))
        #expect(fault("{\(head),\"configuration\":{\"addresses\":[]},\"more\":1}").contains("more: "))
    }

    @Test("no random text crashes the reader")
    func random() throws {
        let text = Array(try Self.sample.text().utf8)
        for _ in 0..<500 {
            var changed = text
            for _ in 0..<3 { changed[Int.random(in: changed.indices)] = .random(in: 0...255) }
            _ = try? BackupDocument.configuration(in: changed)
        }
    }
}
