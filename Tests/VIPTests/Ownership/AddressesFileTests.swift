import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: list of addresses on disk")
struct AddressesFileTests {
    @Test("what is written is read, sorted and for people too")
    func roundTrip() throws {
        let entries: [AddressesFile.Entry] = [
            .init(address: try VirtualAddress(parsing: "192.0.2.11/24"), interface: "eth0"),
            .init(address: try VirtualAddress(parsing: "192.0.2.10/24"), interface: "bond0.12"),
        ]
        let text = String(decoding: AddressesFile.encode(entries), as: UTF8.self)
        #expect(text.split(separator: "\n").dropFirst() == ["192.0.2.10/24 bond0.12", "192.0.2.11/24 eth0"])
        let content = AddressesFile.decode(Array(text.utf8))
        #expect(Set(content.entries) == Set(entries))
        #expect(content.damaged == [])
    }

    @Test("no file is no addresses")
    func absent() throws {
        let file = StoredFile("addresses", in: try OpenDirectory("/usr"))
        #expect(try AddressesFile.read(file) == AddressesFile.Content())
    }

    @Test("damaged lines are told apart, the others count")
    func damaged() {
        let text = """
            # remark
            192.0.2.10/24 eth0
            192.0.2.10 eth0
            192.0.2.11/24
            127.0.0.1/8 lo
            192.0.2.12/24 eth0 more
            192.0.2.13/24 eth1
            """
        let content = AddressesFile.decode(Array(text.utf8))
        #expect(content.entries.map { "\($0.address)" } == ["192.0.2.10/24", "192.0.2.13/24"])
        #expect(content.damaged.count == 4)
    }

    @Test("any bytes give a content", arguments: 1...5)
    func total(seed: UInt64) {
        var generator = SeededGenerator(state: seed)
        for _ in 0..<500 {
            let count = Int.random(in: 0...80, using: &generator)
            let bytes = (0..<count).map { _ in
                Array("\n /.0123456789abeth#\u{FF}".utf8).randomElement(using: &generator) ?? 0
            }
            let content = AddressesFile.decode(bytes)
            #expect(content.entries.count + content.damaged.count <= count)
        }
    }
}
