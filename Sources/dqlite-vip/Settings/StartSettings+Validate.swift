import Cluster
import Discovery
import Logging
import Platform

/// Everything that is wrong with the settings, at once.
struct SettingsFaults: Error, Hashable, Sendable, CustomStringConvertible {
    /// Each names the flag, the value and the remedy.
    var faults: [String]

    var description: String {
        let head =
            faults.count == 1
            ? "the configuration has a fault:" : "the configuration has \(faults.count) faults:"
        return ([head] + faults.map { "  " + $0 }).joined(separator: "\n")
    }
}

extension StartSettings {
    static let defaultClusterPort: UInt16 = 8800
    static let defaultAPI = HostPort(host: "127.0.0.1", port: 9900)
    static let defaultClusterName = "dqlite-vip"
    /// dqlite is not made for more; see FEATURES A6.
    static let mostVoters = 7
    static let mostExpected = Agreement.maximumMembers

    /// Checks the settings as a whole; throws all faults together. Does no I/O: the same input always has the same outcome.
    /// `vipFault` says what is wrong with a virtual address, or nil when nothing is.
    static func validate(
        _ input: StartInput, vipFault: (String) -> String? = { _ in nil }
    ) throws(SettingsFaults) -> StartSettings {
        var check = SettingsCheck(input: input)
        let dataDirectory = check.dataDirectory()
        let interface = check.interface()
        let clusterBind = check.clusterBind()
        let apiBind = check.apiBind(clusterBind)
        let join = check.join(clusterBind, apiBind)
        let expect = check.bootstrapExpect(hasJoin: input[.join] != nil)
        let voters = check.voters(expect)
        let vip = check.vip(vipFault)
        let clusterName = check.clusterName()
        let logLevel = check.choice(.logLevel, Logger.Level.allCases.map { ($0.rawValue, $0) }) ?? .info
        let logFormat = check.choice(.logFormat, LogFormat.allCases.map { ($0.rawValue, $0) }) ?? .text
        guard check.faults.isEmpty, let dataDirectory, let interface, let clusterBind, let apiBind else {
            throw SettingsFaults(faults: check.faults)
        }
        return StartSettings(
            dataDirectory: dataDirectory, clusterBind: clusterBind, apiBind: apiBind, interface: interface,
            join: join, bootstrapExpect: expect, virtualAddress: vip, voters: voters, clusterName: clusterName,
            logLevel: logLevel, logFormat: logFormat)
    }
}

/// One pass over the input, collecting faults. A value that is at fault gives nil or its default, so that the checks
/// that need it are left out and not wrong.
private struct SettingsCheck {
    let input: StartInput
    var faults: [String] = []

    init(input: StartInput) {
        self.input = input
    }

    private mutating func fault(_ key: StartInput.Key, _ text: String, _ reason: String) {
        faults.append("\(input[key]?.origin ?? key.flag) \"\(printable(text))\": \(reason)")
    }

    private mutating func missing(_ key: StartInput.Key, _ remedy: String) {
        faults.append("\(key.flag) is missing: \(remedy) (or set \(key.variable))")
    }

    mutating func dataDirectory() -> String? {
        let remedy = "give the directory where this node keeps its state, like --data-dir /var/lib/dqlite-vip"
        guard let text = input.text(.dataDirectory) else {
            missing(.dataDirectory, remedy)
            return nil
        }
        guard !text.isEmpty else {
            fault(.dataDirectory, text, "it is empty: \(remedy)")
            return nil
        }
        guard !text.utf8.contains(0) else {
            fault(.dataDirectory, text, "a path cannot contain a zero byte")
            return nil
        }
        return text
    }

    /// The rules of the kernel's dev_valid_name (net/core/dev.c).
    mutating func interface() -> String? {
        let remedy =
            "give the network interface of the virtual address, like --iface eth0; \"ip -brief link\" lists them"
        guard let text = input.text(.interface) else {
            missing(.interface, remedy)
            return nil
        }
        if text.isEmpty {
            fault(.interface, text, "it is empty: \(remedy)")
        } else if text.utf8.count > 15 {
            fault(.interface, text, "an interface name has at most 15 bytes, this has \(text.utf8.count): \(remedy)")
        } else if text == "." || text == ".." || text.contains(where: { "/:".contains($0) || $0.isWhitespace })
            || text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F })
        {
            fault(.interface, text, "no interface can have this name: \(remedy)")
        } else {
            return text
        }
        return nil
    }

    mutating func clusterBind() -> ClusterBind? {
        guard let text = input.text(.bindCluster) else {
            return .interfaceAddress(port: StartSettings.defaultClusterPort)
        }
        let remedy = "give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
        do throws(HostPort.ParseError) {
            let bind = try HostPort(parsing: text, defaultPort: StartSettings.defaultClusterPort)
            guard let address = bind.address else {
                fault(.bindCluster, text, "\"\(printable(bind.host))\" is not an IP address: \(remedy)")
                return nil
            }
            if address.isUnspecified { return .allAddresses(address.family, port: bind.port) }
            if address.isMulticast || address.isLimitedBroadcast {
                fault(.bindCluster, text, "\(address) is not the address of one host: \(remedy)")
                return nil
            }
            if address.isLinkLocal && address.family == .v6 {
                fault(.bindCluster, text, "a link-local IPv6 address means nothing to other hosts: \(remedy)")
                return nil
            }
            return .address(address, port: bind.port)
        } catch {
            fault(.bindCluster, text, "\(printable(error.reason)): \(remedy)")
            return nil
        }
    }

    mutating func apiBind(_ cluster: ClusterBind?) -> HostPort? {
        guard let text = input.text(.bindHTTP) else {
            return clash(StartSettings.defaultAPI, "\(StartSettings.defaultAPI)", cluster)
        }
        let remedy = "give ADDRESS:PORT, like 127.0.0.1:9900 for this host alone or 0.0.0.0:9900 for all"
        do throws(HostPort.ParseError) {
            let bind = try HostPort(parsing: text, defaultPort: StartSettings.defaultAPI.port)
            if let address = bind.address, address.isMulticast || address.isLimitedBroadcast {
                fault(.bindHTTP, text, "\(address) is not the address of one host: \(remedy)")
                return nil
            }
            return clash(bind, text, cluster)
        } catch {
            fault(.bindHTTP, text, "\(printable(error.reason)): \(remedy)")
            return nil
        }
    }

    /// Refuses an API address that takes the port away from the cluster.
    private mutating func clash(_ api: HostPort, _ text: String, _ cluster: ClusterBind?) -> HostPort? {
        guard let cluster, cluster.port == api.port else { return api }
        let overlaps =
            switch cluster {
            case .address(let address, _): api.address == address || api.address?.isUnspecified == true
            case .allAddresses: true
            case .interfaceAddress: api.address.map { !$0.isLoopback } ?? false
            }
        guard overlaps else { return api }
        fault(
            .bindHTTP, text,
            "the cluster port listens there too (--bind-cluster): give the API another port, like \(StartSettings.defaultAPI.port)"
        )
        return nil
    }

    mutating func join(_ cluster: ClusterBind?, _ api: HostPort?) -> [HostPort] {
        guard let given = input[.join] else { return [] }
        let clusterPort = cluster?.port ?? StartSettings.defaultClusterPort
        let (entries, parseFaults) = StaticDiscovery.parse(given.texts)
        for parseFault in parseFaults {
            let reason =
                parseFault.text.isEmpty
                ? "an address is empty: is a variable of the command line not set?" : printable(parseFault.reason)
            fault(.join, parseFault.text, "\(reason): give the cluster addresses of other nodes, like 192.0.2.1:8800")
        }
        for entry in entries {
            if let address = entry.address, address.isUnspecified || address.isMulticast || address.isLimitedBroadcast {
                fault(
                    .join, entry.description,
                    "\(address) is not the address of one host: give the address at which that node can be reached")
            } else if let api, entry.port == api.port, entry.port != clusterPort {
                fault(
                    .join, entry.description,
                    "\(entry.port) is the port of the API (--bind-http); use the cluster port (\(clusterPort)): "
                        + "\(HostPort(host: entry.host, port: clusterPort))")
            }
        }
        return entries
    }

    mutating func bootstrapExpect(hasJoin: Bool) -> Int? {
        guard let expect = number(.bootstrapExpect, 1...StartSettings.mostExpected, "the number of nodes to start with")
        else { return nil }
        if expect > 1, !hasJoin {
            fault(
                .bootstrapExpect, "\(expect)",
                "there is no way to find the other nodes: --join is missing; give it the addresses of all \(expect)")
        }
        return expect
    }

    mutating func voters(_ expect: Int?) -> Int {
        let most = StartSettings.mostVoters
        let founders = min(expect ?? 1, most)
        guard let voters = number(.voters, 1...most, "an odd number of voting nodes") else {
            return max(3, founders | 1)
        }
        if voters % 2 == 0 {
            fault(
                .voters, "\(voters)",
                "an even number of voters survives no more failures than one voter less: give \(voters - 1) or \(voters + 1)"
            )
        } else if voters < founders {
            fault(
                .voters, "\(voters)",
                "all \(founders) nodes of --bootstrap-expect vote: give at least \(founders | 1), or expect fewer")
        }
        return voters
    }

    mutating func vip(_ vipFault: (String) -> String?) -> String? {
        guard let text = input.text(.vip) else { return nil }
        if text.isEmpty {
            fault(.vip, text, "it is empty: give ADDRESS/PREFIX LENGTH, like 192.0.2.10/24, or leave the flag out")
        } else if let reason = vipFault(text) {
            fault(.vip, text, printable(reason))
        }
        return text
    }

    mutating func clusterName() -> String {
        guard let text = input.text(.clusterName) else { return StartSettings.defaultClusterName }
        let isWord = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        if !isWord || !(1...63).contains(text.utf8.count) {
            fault(.clusterName, text, "a name has 1 to 63 of the characters a-z, A-Z, 0-9, dot, hyphen, underscore")
        }
        return text
    }

    mutating func choice<Value>(_ key: StartInput.Key, _ choices: [(name: String, value: Value)]) -> Value? {
        guard let text = input.text(key) else { return nil }
        if let choice = choices.first(where: { $0.name == text.lowercased() }) { return choice.value }
        fault(key, text, "give one of \(choices.map(\.name).joined(separator: ", "))")
        return nil
    }

    private mutating func number(_ key: StartInput.Key, _ range: ClosedRange<Int>, _ meaning: String) -> Int? {
        guard let text = input.text(key) else { return nil }
        if let number = Int(text), range.contains(number) { return number }
        fault(key, text, "give \(meaning), from \(range.lowerBound) to \(range.upperBound)")
        return nil
    }
}

/// A value as a message can quote it: bytes that would upset a terminal are replaced, and it is not longer than a line.
private func printable(_ text: String) -> String {
    let clean = text.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : String($0) }
    return clean.count > 200 ? clean.prefix(200).joined() + "…" : clean.joined()
}
