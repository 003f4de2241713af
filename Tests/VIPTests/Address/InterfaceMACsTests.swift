import Glibc
import Platform
import Testing

@testable import VIP

@Suite("the MACs under which an interface answers")
struct InterfaceMACsTests {
    @Test("an interface has its own; one that cannot ask or answer has none")
    func own() throws {
        let mac: [UInt8] = [2, 0, 0x5E, 0, 0, 1]
        let link = LinkState(index: 4_000_000, name: "none0", hardwareType: 1, hardwareAddress: mac, flags: 1)
        #expect(InterfaceMACs.read(link) == [try #require(HardwareAddress(mac))])
        var other = link
        other.hardwareAddress = []
        #expect(InterfaceMACs.read(other) == [])
        other = link
        other.flags = 1 | 1 << 7
        #expect(InterfaceMACs.read(other) == [], "NOARP")
    }

    @Test("those of the devices below are told as well, down to the lowest; of a bridge its own; too many are none")
    func below() async throws {
        let directory = try #require(mkdtemp(strdup("/tmp/sysfs-XXXXXX")).map { String(cString: $0) })
        defer { rmdir(directory) }
        try await withNetworkNamespace { namespace in
            try await namespace.script(
                """
                ip link add v0 address 02:00:5e:00:00:01 type veth peer name v1
                ip link add link v0 name m0 address 02:00:5e:00:00:02 type macvlan
                ip link add b0 address 02:00:5e:00:00:04 type bridge
                ip link set v1 master b0
                mount -t sysfs sysfs \(directory)
                """)
            func macs(_ name: String) async throws -> [UInt8] {
                try await namespace.run {
                    let link = try #require(try NetlinkSession().link(named: name))
                    return InterfaceMACs.read(link, in: "\(directory)/class/net").map { $0.bytes[5] }
                }
            }
            do {
                #expect(try await macs("v0") == [1])
                #expect(try await macs("m0") == [2, 1])
                #expect(try await macs("b0") == [4])
                // The index is another one where /sys shows another namespace.
                let stranger = LinkState(
                    index: 4_000_000, name: "m0", hardwareType: 1, hardwareAddress: [2, 0, 0x5E, 0, 0, 2], flags: 1)
                #expect(InterfaceMACs.read(stranger, in: "\(directory)/class/net").count == 1)
            } catch {
                try await namespace.command("umount", directory)
                throw error
            }
            try await namespace.command("umount", directory)
        }
    }
}
