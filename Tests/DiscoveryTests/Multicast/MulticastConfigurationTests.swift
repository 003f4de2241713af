import Logging
import Platform
import Testing

@testable import Discovery

@Suite("multicast: configuration")
struct MulticastConfigurationTests {
    private func read(_ object: [String: JSONValue]) -> (configuration: MulticastConfiguration, faults: [String]) {
        var fields = ConfigurationFields(object)
        let configuration = MulticastConfiguration(from: &fields)
        fields.finish()
        return (configuration, fields.faults)
    }

    @Test("nothing need be configured: the group follows the family of the node's address, the interface is --iface")
    func defaults() throws {
        let (configuration, faults) = read([:])
        #expect(faults.isEmpty)
        #expect(configuration.timeToLive == 1)
        for (family, group) in [
            (IPAddress.Family?.none, "239.77.86.80:8801"), (.v4, "239.77.86.80:8801"), (.v6, "[ff02::4d56:50]:8801"),
        ] {
            let context = DiscoveryContext(
                key: "k", clusterPort: 8800, family: family, interface: "eth7", logger: MulticastLog().logger)
            let discovery = try MulticastDiscovery(configuration, context)
            #expect(discovery.description == "multicast: \(group) on eth7, without a secret")
        }
    }

    @Test("all fields are read")
    func all() throws {
        let (configuration, faults) = read([
            "group": .string("[ff05::8801]:9000"), "interface": .string("bond0.100"), "ttl": .integer(255),
            "secret": .string("quite secret"),
        ])
        #expect(faults.isEmpty)
        #expect(configuration.group?.description == "[ff05::8801]:9000")
        #expect(configuration.interface == "bond0.100")
        #expect(configuration.timeToLive == 255)
        let context = DiscoveryContext(
            key: "k", clusterPort: 8800, family: .v4, interface: "eth7", logger: MulticastLog().logger)
        let discovery = try MulticastDiscovery(configuration, context)
        #expect(discovery.description == "multicast: [ff05::8801]:9000 on bond0.100, with a secret")
        #expect(!"\(configuration)".contains("quite"))
    }

    @Test("the port of a group is 8801 when it names none", arguments: ["239.1.2.3", "[ff02::77]"])
    func port(group: String) {
        #expect(read(["group": .string(group)]).configuration.group?.port == 8801)
    }

    @Test(
        "what cannot work is told with the field, the value and the remedy",
        arguments: [
            ("group", "10.0.0.1:8801", "\"10.0.0.1:8801\" is not a multicast address: give a multicast address"),
            ("group", "lan.example:1", "\"lan.example:1\" is not a multicast address"),
            ("group", "[fd00::1]:1", "is not a multicast address"),
            ("group", "ff02::1", "write an IPv6 address in brackets"),
            ("group", "239.1.2.3:0", "the port \"0\" is not a number from 1 to 65535"),
            ("group", "[ff01::1]:1", "has a scope that never leaves the host"),
            ("ttl", "0", "give a whole number from 1 to 255"),
            ("ttl", "256", "give a whole number from 1 to 255"),
            ("interface", "0123456789abcdef", "\"0123456789abcdef\" has 16 bytes, and no interface has more than 15"),
            ("interface", "eth 0", "has a character that no interface has"),
            ("interface", "a/b", "has a character that no interface has"),
            ("secret", "", "it is empty: give a value, or leave the field out"),
        ])
    func faults(field: String, value: String, message: String) {
        let faults = read([field: .string(value)]).faults
        #expect(faults.count == 1)
        #expect(faults.first?.contains("the field \"\(field)\"") == true)
        #expect(faults.first?.contains(message) == true, "\(faults)")
    }

    @Test("a secret that is no text is refused without being told")
    func numberAsSecret() {
        let faults = read(["secret": .integer(123456)]).faults
        #expect(faults == ["the field \"secret\": it is a number: give a text in quotes"])
    }

    @Test("the mode is registered, and its unknown fields are told by name")
    func registered() {
        #expect(DiscoveryRegistry.modes.contains("multicast"))
        let (faults, _) = DiscoveryRegistry.check(mode: "multicast", ["groop": .string("239.1.2.3")])
        #expect(faults.count == 1)
        #expect(
            faults.first?.contains("\"groop\" is not known: the fields here are group, interface, secret, ttl") == true)
    }

    @Test("without any interface the backend is not made")
    func noInterface() {
        let context = DiscoveryContext(
            key: "k", clusterPort: 8800, family: .v4, interface: "", logger: MulticastLog().logger)
        #expect(throws: DiscoveryError.self) { try MulticastDiscovery(read([:]).configuration, context) }
    }
}
