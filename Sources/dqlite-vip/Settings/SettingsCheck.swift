import Cluster
import Logging
import Platform

/// One pass over the input, collecting faults. A value that is at fault gives nil or its default, so that the checks
/// that need it are left out and not wrong.
struct SettingsCheck {
    let input: StartInput
    let surroundings: SettingsSurroundings
    /// Whether a node is to run with the settings. For `discover` what only a node needs may be missing.
    var isForNode = true
    var faults: [String] = []

    /// All settings. nil is what is missing or at fault.
    struct Outcome {
        var dataDirectory: String?
        var clusterBind: ClusterBind?
        var apiBind: HostPort?
        var interface: String?
        var discovery: DiscoverySettings
        var bootstrapExpect: Int?
        var isNonVoter: Bool
        var virtualAddresses: [String]
        var voters: Int
        var clusterName: String
        var logLevel: Logger.Level
        var logFormat: LogFormat
        var timing: Timing
        var membership: MembershipOptions
        var nodeName: String?
        var labels: [String: String] = [:]
    }

    mutating func everything() -> Outcome {
        let dataDirectory = dataDirectory()
        let interface = interface()
        let clusterBind = clusterBind()
        let apiBind = apiBind(clusterBind)
        let discovery = discovery(clusterBind, apiBind, interface: interface)
        let expect = bootstrapExpect()
        let isNonVoter = isNonVoter()
        let voters = voters(expect)
        let vips = vips()
        let clusterName = clusterName(discovery.key)
        let logLevel = choice(.logLevel, Logger.Level.allCases.map { ($0.rawValue, $0) }) ?? .info
        let logFormat = choice(.logFormat, LogFormat.allCases.map { ($0.rawValue, $0) }) ?? .text
        return Outcome(
            dataDirectory: dataDirectory, clusterBind: clusterBind, apiBind: apiBind, interface: interface,
            discovery: discovery, bootstrapExpect: expect, isNonVoter: isNonVoter, virtualAddresses: vips,
            voters: voters,
            clusterName: clusterName, logLevel: logLevel, logFormat: logFormat, timing: timing(),
            membership: membership(), nodeName: nodeName(), labels: labels())
    }

    mutating func fault(_ key: StartInput.Key, _ text: String, _ reason: String) {
        faults.append("\(input[key]?.origin ?? key.flag) \"\(Self.printable(text))\": \(reason)")
    }

    private mutating func missing(_ key: StartInput.Key, _ remedy: String) {
        guard isForNode else { return }
        faults.append("\(key.flag) is missing: \(remedy) (or set \(key.variable))")
    }

    private mutating func dataDirectory() -> String? {
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
    private mutating func interface() -> String? {
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

    private mutating func clusterBind() -> ClusterBind? {
        guard let text = input.text(.bindCluster) else {
            return .interfaceAddress(port: StartSettings.defaultClusterPort)
        }
        let remedy = "give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
        do throws(HostPort.ParseError) {
            let bind = try HostPort(parsing: text, defaultPort: StartSettings.defaultClusterPort)
            guard let address = bind.address else {
                fault(.bindCluster, text, "\"\(Self.printable(bind.host))\" is not an IP address: \(remedy)")
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
            fault(.bindCluster, text, "\(Self.printable(error.reason)): \(remedy)")
            return nil
        }
    }

    private mutating func apiBind(_ cluster: ClusterBind?) -> HostPort? {
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
            fault(.bindHTTP, text, "\(Self.printable(error.reason)): \(remedy)")
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

    private mutating func voters(_ expect: Int?) -> Int {
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

    private mutating func vips() -> [String] {
        let given = input[.vip]?.texts ?? []
        let texts = given.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
        for text in texts {
            if text.isEmpty {
                fault(
                    .vip, given.joined(separator: ","),
                    "it is empty: give ADDRESS/PREFIX LENGTH, like 192.0.2.10/24, or leave the flag out")
            } else if let reason = surroundings.vipFault(text) {
                fault(.vip, text, Self.printable(reason))
            }
        }
        if let reason = VirtualAddressList.fault(texts) { fault(.vip, given.joined(separator: ","), reason) }
        return texts
    }

    /// - Parameter key: that of the discovery, which names the cluster when nothing else does.
    private mutating func clusterName(_ key: String) -> String {
        let mostBytes = SoundText.mostBytes
        guard let text = input.text(.clusterName) else {
            let name = key.split(separator: "/").joined(separator: ".")
            if name.utf8.count > mostBytes {
                missing(
                    .clusterName,
                    "it would be --disco-key, which has \(name.utf8.count) characters, and the name of a cluster has at most "
                        + "\(mostBytes): give one")
            }
            return name
        }
        if !SoundText.isName(text) {
            fault(
                .clusterName, text,
                "a name has 1 to \(mostBytes) of the characters a-z, A-Z, 0-9, dot, hyphen, underscore")
        }
        return text
    }

    private mutating func timing() -> Timing {
        guard let text = input.text(.timing) else { return .lan }
        do throws(TimingFaults) {
            return try Timing(parsing: text)
        } catch {
            for reason in error.reasons { fault(.timing, text, Self.printable(reason, atMost: 400)) }
            return .lan
        }
    }

    mutating func choice<Value>(_ key: StartInput.Key, _ choices: [(name: String, value: Value)]) -> Value? {
        guard let text = input.text(key) else { return nil }
        if let choice = choices.first(where: { $0.name == text.lowercased() }) { return choice.value }
        fault(key, text, "give one of \(choices.map(\.name).joined(separator: ", "))")
        return nil
    }

    mutating func number(_ key: StartInput.Key, _ range: ClosedRange<Int>, _ meaning: String) -> Int? {
        guard let text = input.text(key) else { return nil }
        if let number = Int(text), range.contains(number) { return number }
        fault(key, text, "give \(meaning), from \(range.lowerBound) to \(range.upperBound)")
        return nil
    }

    /// A value as a message can quote it: bytes that would upset a terminal are replaced, and it is not longer than a few
    /// lines.
    static func printable(_ text: String, atMost limit: Int = 200) -> String {
        let clean = text.unicodeScalars.map { $0.upsetsTerminals ? "\u{FFFD}" : String($0) }
        return clean.count > limit ? clean.prefix(limit).joined() + "…" : clean.joined()
    }
}
