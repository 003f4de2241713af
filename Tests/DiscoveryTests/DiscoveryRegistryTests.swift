import Testing

@testable import Discovery

@Suite struct DiscoveryRegistryTests {
    @Test("each mode is there once, and the key means something to all but those that go by names alone")
    func modes() {
        let modes = DiscoveryRegistry.modes
        #expect(Set(modes).count == modes.count && modes.first == "static")
        for mode in modes {
            #expect(DiscoveryRegistry.usesKey(mode) == !["static", "dns", "dns-srv"].contains(mode), "\(mode)")
        }
        #expect(!DiscoveryRegistry.usesKey("no-such-mode"))
    }

    @Test("a field that no mode has is refused by every mode, by name and without its value")
    func unknownField() {
        for mode in DiscoveryRegistry.modes where mode != DiscoveryRegistry.staticMode {
            let (faults, _) = DiscoveryRegistry.check(mode: mode, ["no_such_field": .string("hunter2")])
            #expect(faults.contains { $0.contains("\"no_such_field\" is not known") }, "\(mode)")
            #expect(!faults.contains { $0.contains("hunter2") }, "\(mode)")
        }
    }
}
