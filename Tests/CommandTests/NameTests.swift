import Testing

@testable import dqlite_vip

@Suite("Names and labels of a node")
struct NameTests {
    private static let base = "--data-dir d --iface eth0"

    @Test("the name is the host's unless one is given; labels come from repeated flags, or one variable")
    func given() throws {
        #expect(try settings(Self.base).nodeName == nil)
        let both = try settings("\(Self.base) --node-name db-1 --label rack=3 --label example.org/arch=")
        #expect(both.nodeName == "db-1")
        #expect(both.labels == ["rack": "3", "example.org/arch": ""])
        let variable = try settings(Self.base, environment: ["DQLITE_VIP_LABEL": "a=1,b=x=y"])
        #expect(variable.labels == ["a": "1", "b": "x=y"])
    }

    @Test(
        "what is no name or label is refused with the reason",
        arguments: [
            ("--node-name 'a b'", "a name has"), ("--node-name ''", "a name has"), ("--label rack", "KEY=VALUE"),
            ("--label =3", "a key has"), ("--label a=1 --label a=2", "given twice"),
            ("--label a=\(String(repeating: "x", count: 64))", "a value has"),
            ("--label \((0...16).map { "k\($0)=v" }.joined(separator: ","))", "at most 16"),
        ])
    func refused(flags: String, reason: String) throws {
        let faults = try faults("\(Self.base) \(flags)")
        #expect(faults.count == 1 && faults.first?.contains(reason) == true, "\(faults)")
    }
}
