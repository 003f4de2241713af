import FoundationEssentials
import Platform
import Testing
import VIP

@Suite("VirtualAddress")
struct VirtualAddressTests {
    @Test(
        "addresses that a host can own are taken, and print as they were written",
        arguments: [
            "192.0.2.10/24", "10.0.0.1/8", "10.255.255.254/8", "192.0.2.0/31", "192.0.2.255/31", "192.0.2.0/32",
            "192.0.2.255/32", "10.0.0.0/32", "169.254.7.7/16", "1.2.3.4/1", "223.255.255.254/24",
            "2001:db8::10/64", "fd00::1/127", "fd00::/127", "fd00::/128", "fd00::ffff:ffff:ffff:ffff/64",
        ])
    func accepted(text: String) throws {
        #expect(try VirtualAddress(parsing: text).description == text)
    }

    @Test(
        "a wrong one is refused with the value, the fault and what to write instead",
        arguments: [
            ("", "empty"),
            ("192.0.2.10", "prefix length is missing; write 192.0.2.10/24"),
            ("192.0.2.10/", "prefix length is missing"),
            ("fd00::10", "write fd00::10/64"),
            ("192.0.2.10/24/24", "more than one slash"),
            ("192.0.2.10/0", "0 is not in 1...32"),
            ("192.0.2.10/33", "33 is not in 1...32"),
            ("fd00::10/0", "0 is not in 1...128"),
            ("fd00::10/129", "129 is not in 1...128"),
            ("192.0.2.10/-1", "\"-1\" is no prefix length"),
            ("192.0.2.10/+24", "\"+24\" is no prefix length"),
            ("192.0.2.10/24 ", "\"24 \" is no prefix length"),
            ("192.0.2.10/٢٤", "is no prefix length"),
            ("192.0.2.10/255.255.255.0", "write the number of network bits, like 192.0.2.10/24"),
            ("192.0.2.10/99999999999999999999", "is no prefix length"),
            ("192.0.2/24", "\"192.0.2\" is no IPv4 or IPv6 address"),
            ("192.0.2.256/24", "is no IPv4 or IPv6 address"),
            (" 192.0.2.10/24", "is no IPv4 or IPv6 address"),
            ("vip.example.com/24", "is no IPv4 or IPv6 address"),
            ("192.0.2.10\u{0}/24", "is no IPv4 or IPv6 address"),
            ("/24", "is no IPv4 or IPv6 address"),
            ("fe80::1%eth0/64", "zone"),
            ("0.0.0.0/24", "unspecified"),
            ("::/64", "unspecified"),
            ("127.0.0.2/8", "loopback"),
            ("::1/128", "loopback"),
            ("224.0.0.18/24", "multicast"),
            ("239.1.2.3/32", "multicast"),
            ("ff02::1/64", "multicast"),
            ("255.255.255.255/32", "limited broadcast"),
            ("0.1.2.3/24", "0.0.0.0/8"),
            ("240.0.0.1/24", "240.0.0.0/4"),
            ("255.0.0.1/24", "240.0.0.0/4"),
            ("192.0.2.0/24", "network address of its /24"),
            ("192.0.2.0/30", "network address of its /30"),
            ("10.0.0.0/8", "network address of its /8"),
            ("128.0.0.0/1", "network address of its /1"),
            ("192.0.2.255/24", "broadcast address of its /24"),
            ("192.0.2.3/30", "broadcast address of its /30"),
            ("10.1.255.255/16", "broadcast address of its /16"),
            ("fd00::/64", "subnet-router anycast address"),
            ("fd00::/126", "subnet-router anycast address"),
            ("fe80::1/64", "link-local"),
            ("::ffff:192.0.2.10/120", "write the IPv4 address itself"),
        ])
    func refused(text: String, fault: String) {
        let error = #expect(throws: VirtualAddressError.self) { try VirtualAddress(parsing: text) }
        #expect(error?.text == text)
        let message = error?.description ?? ""
        #expect(message.hasPrefix("\"\(text)\" is not a virtual address: "))
        #expect(message.contains(fault), "\(message)")
    }

    @Test(
        "the subnet is that of the prefix length, also between byte borders",
        arguments: [
            ("192.0.2.10/24", "192.0.2.0", "192.0.2.255", "192.0.2.255", "192.0.3.0"),
            ("10.77.3.4/12", "10.64.0.0", "10.79.255.255", "10.79.0.1", "10.80.0.0"),
            ("192.0.2.5/30", "192.0.2.4", "192.0.2.7", "192.0.2.6", "192.0.2.8"),
            ("192.0.2.5/31", "192.0.2.4", nil, "192.0.2.4", "192.0.2.6"),
            ("192.0.2.5/32", "192.0.2.5", nil, "192.0.2.5", "192.0.2.4"),
            ("192.0.2.5/1", "128.0.0.0", "255.255.255.255", "200.1.1.1", "127.0.0.1"),
            ("fd00:1::5/33", "fd00:1::", nil, "fd00:1:7fff::1", "fd00:1:8000::1"),
        ] as [(String, String, String?, String, String)])
    func subnet(text: String, network: String, broadcast: String?, inside: String, outside: String) throws {
        let address = try VirtualAddress(parsing: text)
        #expect(address.network.description == network)
        #expect(address.broadcast?.description == broadcast)
        #expect(address.contains(try #require(IPAddress(inside))))
        #expect(!address.contains(try #require(IPAddress(outside))))
    }

    @Test("an address of the other family is never inside")
    func families() throws {
        #expect(!(try VirtualAddress(parsing: "fd00::5/1")).contains(try #require(IPAddress("10.0.0.1"))))
        #expect(!(try VirtualAddress(parsing: "10.0.0.1/8")).contains(try #require(IPAddress("a00::1"))))
    }

    @Test("the connected route is wanted unless an address of the host brings it")
    func prefixRoute() throws {
        let virtual = try VirtualAddress(parsing: "192.0.2.10/24")
        func held(_ text: String, proto: UInt8? = nil) throws -> InterfaceAddress {
            let parsed = try VirtualAddress(parsing: text)
            return InterfaceAddress(
                interfaceIndex: 2, address: parsed.address, prefixLength: parsed.prefixLength, proto: proto)
        }
        #expect(virtual.needsPrefixRoute(among: []))
        #expect(!virtual.needsPrefixRoute(among: [try held("192.0.2.1/24")]))
        #expect(!virtual.needsPrefixRoute(among: [try held("192.0.77.1/16")]))
        // Another subnet, a part of ours only, another family, and addresses that go away like this one.
        for other in ["192.0.3.1/24", "192.0.2.1/25", "192.0.2.1/32", "fd00::1/64", "192.0.2.10/24"] {
            #expect(virtual.needsPrefixRoute(among: [try held(other)]), "\(other)")
        }
        #expect(virtual.needsPrefixRoute(among: [try held("192.0.2.1/24", proto: virtualAddressProtocolTag)]))
        #expect(!(try VirtualAddress(parsing: "192.0.2.10/32")).needsPrefixRoute(among: []))
    }

    @Test("JSON is the text form, and a bad one says why")
    func codable() throws {
        let address = try VirtualAddress(parsing: "192.0.2.10/24")
        let json = try JSONEncoder().encode([address])
        #expect(String(decoding: json, as: UTF8.self).replacing("\\/", with: "/") == "[\"192.0.2.10/24\"]")
        #expect(try JSONDecoder().decode([VirtualAddress].self, from: json) == [address])
        let bad = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([VirtualAddress].self, from: Data("[\"192.0.2.255/24\"]".utf8))
        }
        #expect("\(String(describing: bad))".contains("broadcast address of its /24"))
    }
}
