import Curl
import FoundationEssentials
import Glibc
import Testing

@testable import Discovery

@Suite("Consul: configuration and messages")
struct ConsulPureTests {
    private func check(_ json: String) throws -> (faults: [String], ignored: [String]) {
        DiscoveryRegistry.check(mode: "consul-kv", try object(json))
    }

    private func object(_ json: String) throws -> [String: JSONValue] {
        guard case .object(let object) = try JSONDecoder().decode(JSONValue.self, from: Data(json.utf8)) else {
            return [:]
        }
        return object
    }

    private func configuration(_ json: String) throws -> ConsulConfiguration {
        var fields = ConfigurationFields(try object(json))
        let configuration = ConsulConfiguration(from: &fields)
        fields.finish()
        #expect(fields.faults.isEmpty, "\(fields.faults)")
        return configuration
    }

    @Test("without a configuration it is the agent on this host")
    func empty() throws {
        #expect(try check("{}").faults.isEmpty)
        let configuration = try configuration("{}").completed(from: [:])
        #expect(configuration.place == "Consul at http://127.0.0.1:8500")
        let request = configuration.request("GET", "kv/x/", ["recurse"], body: nil, token: nil)
        #expect(request.url == "http://127.0.0.1:8500/v1/kv/x/?recurse")
        #expect(request.headers.isEmpty && request.credentials == nil)
    }

    @Test("every field of rqlite's finds its place in the requests")
    func allFields() throws {
        let configuration = try configuration(
            """
            {"address": "consul.example:8501", "scheme": "https", "datacenter": "dc 1", "token": "secret",
             "basic_auth": {"username": "someone", "password": "pass:word"}, "namespace": "team/a", "partition": "part",
             "tls_config": {"address": "other.example:443", "ca_file": "/ca", "cert_file": "/cert", "key_file": "/key",
                            "insecure_skip_verify": true}}
            """)
        let request = configuration.request("PUT", "txn", [], body: [1], token: configuration.token)
        #expect(request.url == "https://consul.example:8501/v1/txn?dc=dc%201&ns=team%2Fa&partition=part")
        #expect(
            request.headers.map { "\($0.name): \($0.value)" } == [
                "Content-Type: application/json", "X-Consul-Token: secret",
            ])
        #expect(request.credentials == .init(username: "someone", password: "pass:word"))
        #expect(configuration.tls.serverName == "other.example")
        #expect(configuration.tls.authorityFile == "/ca" && !configuration.tls.verifiesServer)
        #expect(configuration.tls.certificateFile == "/cert" && configuration.tls.keyFile == "/key")
    }

    @Test("certificates are taken as text and in base64, and go before files as in Go's client")
    func texts() throws {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        let base64 = Data(pem.utf8).base64EncodedString()
        let escaped = pem.split(separator: "\n").joined(separator: "\\n") + "\\n"
        let tls = """
            {"ca_pem": "\(base64)", "ca_path": "/d", "cert_pem": "\(escaped)", "key_pem": "\(base64)", "cert_file": "/c",
             "key_file": "/k"}
            """
        let json = "{\"scheme\": \"https\", \"tls_config\": \(tls)}"
        let configuration = try configuration(json)
        #expect(configuration.tls.authorityText == Array(pem.utf8))
        #expect(configuration.tls.certificateText == Array(pem.utf8))
        #expect(
            try check(json).ignored.sorted() == ["tls_config.ca_path", "tls_config.cert_file", "tls_config.key_file"])
    }

    @Test(
        "what cannot work is told with the field and the way out",
        arguments: [
            ("{\"address\": \"http://consul:8500\"}", "\"consul:8500\""),
            ("{\"address\": \"HTTPS://consul:8500\"}", "\"scheme\""),
            ("{\"address\": \"user:secret@consul:8500\"}", "basic_auth"),
            ("{\"address\": \"ftp://consul\"}", "HOST:PORT"), ("{\"address\": \"consul/path\"}", "HOST:PORT"),
            ("{\"address\": \"consul:99999\"}", "65535"), ("{\"scheme\": \"tcp\"}", "https"),
            ("{\"token\": 17}", "text"), ("{\"basic_auth\": {\"password\": \"secret\"}}", "basic_auth.username"),
            ("{\"basic_auth\": {\"username\": \"a:b\", \"password\": \"secret\"}}", "colon"),
            ("{\"scheme\": \"https\", \"tls_config\": {\"cert_file\": \"/c\"}}", "key_file"),
            ("{\"scheme\": \"https\", \"tls_config\": {\"key_pem\": \"-----BEGIN \"}}", "cert_pem"),
            ("{\"scheme\": \"https\", \"tls_config\": {\"ca_pem\": \"secret\"}}", "tls_config.ca_pem"),
            ("{\"tls_config\": {\"ca_file\": \"/c\"}}", "\"scheme\": \"https\""), ("{\"adress\": \"x\"}", "adress"),
        ])
    func faults(json: String, part: String) throws {
        let faults = try check(json).faults
        #expect(faults.contains { $0.contains(part) }, "\(faults)")
        #expect(!faults.contains { $0.contains("secret") }, "\(faults)")
    }

    @Test("settings of TLS and tokens that have no effect are said to have none")
    func ignored() throws {
        #expect(try check("{\"scheme\": \"http\", \"tls_config\": {\"ca_file\": \"/c\"}}").ignored == ["tls_config"])
        #expect(try check("{\"token\": \"a\", \"token_file\": \"/t\"}").ignored == ["token"])
    }

    @Test("addresses without a port, of IPv6 and of sockets are what Go's client makes of them")
    func addresses() throws {
        #expect(try configuration("{\"address\": \"consul.example\"}").url == "http://consul.example")
        #expect(try configuration("{\"address\": \"[fd00::1]:8500\"}").url == "http://[fd00::1]:8500")
        #expect(try configuration("{\"address\": \"[fd00::1]\", \"scheme\": \"HTTPS\"}").url == "https://[fd00::1]")
        let socket = try configuration("{\"address\": \"unix:///run/consul.sock\"}")
        #expect(socket.request("GET", "x", [], body: nil, token: nil).unixSocket == "/run/consul.sock")
    }

    @Test("what is not given comes from the environment of Consul's clients; what is given stays")
    func environment() throws {
        let environment = [
            "CONSUL_HTTP_ADDR": "https://consul.example:8501", "CONSUL_HTTP_TOKEN": "t", "CONSUL_HTTP_AUTH": "u:p:q",
            "CONSUL_NAMESPACE": "n", "CONSUL_PARTITION": "part", "CONSUL_TLS_SERVER_NAME": "s", "CONSUL_CACERT": "/ca",
            "CONSUL_CLIENT_CERT": "/c", "CONSUL_CLIENT_KEY": "/k", "CONSUL_HTTP_SSL_VERIFY": "false",
        ]
        let all = try ConsulConfiguration().completed(from: environment)
        #expect(all.url == "https://consul.example:8501" && all.token == "t" && all.namespace == "n")
        #expect(all.credentials == .init(username: "u", password: "p:q") && all.partition == "part")
        #expect(all.tls.serverName == "s" && all.tls.authorityFile == "/ca" && !all.tls.verifiesServer)
        #expect(all.tls.certificateFile == "/c" && all.tls.keyFile == "/k")

        var given = try configuration("{\"address\": \"10.0.0.1:8500\", \"scheme\": \"http\", \"token\": \"mine\"}")
        given = try given.completed(from: environment.merging(["CONSUL_HTTP_TOKEN_FILE": "/t"]) { $1 })
        #expect(given.url == "http://10.0.0.1:8500" && given.token == "mine" && given.tokenFile == nil)
        #expect(try ConsulConfiguration().completed(from: ["CONSUL_HTTP_SSL": "1"]).url == "https://127.0.0.1:8500")
        let tokenFile = try ConsulConfiguration().completed(from: ["CONSUL_HTTP_TOKEN_FILE": "/t"])
        #expect(tokenFile.tokenFile == "/t")
    }

    @Test(
        "a variable of the environment that cannot be understood is named",
        arguments: [
            ["CONSUL_HTTP_SSL": "maybe"], ["CONSUL_HTTP_SSL_VERIFY": "perhaps"], ["CONSUL_HTTP_ADDR": "ftp://x"],
            ["CONSUL_HTTP_ADDR": "http://x/prefix"], ["CONSUL_CLIENT_CERT": "/c"],
        ])
    func badEnvironment(environment: [String: String]) throws {
        let error = #expect(throws: DiscoveryError.self) { try ConsulConfiguration().completed(from: environment) }
        #expect(error?.message.contains(environment.keys.first ?? "") == true)
    }

    @Test("a key that Consul's server would redirect is refused", arguments: ["", "/a", "a/", "a//b", "a/../b", "."])
    func keys(key: String) {
        let error = #expect(throws: DiscoveryError.self) {
            try ConsulStore(ConsulConfiguration(), key: key, environment: [:])
        }
        #expect(error?.message.contains("\"\(key)\"") == true)
    }

    @Test("the command that deletes the leader key asks the same Consul, and survives a shell")
    func deleteCommand() throws {
        func command(_ json: String, key: String = "vip") throws -> String {
            try ConsulStore(try configuration(json), key: key, environment: [:]).deleteLeaderCommand
        }
        #expect(try command("{}") == "consul kv delete vip/leader")
        #expect(
            try command(
                "{\"address\": \"10.0.0.1:8500\", \"datacenter\": \"d\", \"token\": \"secret\"}", key: "my vip's")
                == "consul kv delete -http-addr=http://10.0.0.1:8500 -datacenter=d 'my vip'\\''s/leader'")
    }

    @Test("the transactions are those that Consul takes for what is meant")
    func transactions() {
        let put = ConsulRequests.put("k", [104, 105], replacing: 7, session: "s")
        #expect(
            String(decoding: ConsulRequests.body(of: put), as: UTF8.self)
                == """
                [{"KV":{"Index":7,"Key":"k","Verb":"check-index"}},{"KV":{"Index":7,"Key":"k","Verb":"delete-cas"}},\
                {"KV":{"Key":"k","Session":"s","Value":"aGk=","Verb":"lock"}}]
                """)
        #expect(ConsulRequests.put("k", [], replacing: nil, session: "s").map(\.verb) == [.checkNotExists, .lock])
        #expect(
            String(decoding: ConsulRequests.session(named: "n", lifetime: .seconds(10)), as: UTF8.self)
                == """
                {"Behavior":"delete","Checks":[],"LockDelay":"0s","Name":"n","NodeChecks":[],"ServiceChecks":[],"TTL":"10s"}
                """)
    }

    @Test("answers that are not Consul's are errors and nothing worse")
    func decoders() {
        let samples = [
            "[{\"LockIndex\":1,\"Key\":\"v/leader\",\"Flags\":0,\"Value\":\"aGk=\",\"Session\":\"s\",\"CreateIndex\":5,\"ModifyIndex\":15}]",
            "{\"ID\":\"30fda623-fe85-4ecf-fc22-24350c086ab4\"}",
            "{\"Results\":null,\"Errors\":[{\"OpIndex\":0,\"What\":\"key \\\"a\\\" exists\"}]}",
        ].map { Array($0.utf8) }
        #expect(throws: Never.self) { try ConsulDecoding.snapshot(samples[0], below: "v/") }
        #expect(throws: Never.self) { try ConsulDecoding.sessionID(samples[1]) }
        #expect(throws: Never.self) { try ConsulDecoding.conflicts(samples[2]) }

        var random = SystemRandomNumberGenerator()
        func decodeAll(_ bytes: [UInt8]) {
            _ = try? ConsulDecoding.snapshot(bytes, below: "v/")
            _ = try? ConsulDecoding.sessionID(bytes)
            _ = try? ConsulDecoding.conflicts(bytes)
            #expect(ConsulDecoding.text(bytes).count <= 201)
        }
        for sample in samples {
            for _ in 0..<2000 {
                var bytes = sample
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                decodeAll(Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))))
            }
        }
        decodeAll(Array(repeating: UInt8(ascii: "["), count: 100_000))
        decodeAll(Array("{\"a\":".utf8) * 20_000)
        for bad in [
            "", "null", "{}", "[{}]", "[{\"Key\":\"v/leader\",\"ModifyIndex\":-1}]",
            "[{\"Key\":\"v/leader\",\"ModifyIndex\":1,\"Value\":\"%\"}]",
        ] {
            #expect(throws: DiscoveryError.self) { try ConsulDecoding.snapshot(Array(bad.utf8), below: "v/") }
        }
        for bad in [
            "", "{}", "{\"ID\":\"\"}", "{\"ID\":\"../../x\"}", "{\"ID\":\"\(String(repeating: "a", count: 65))\"}",
        ] {
            #expect(throws: DiscoveryError.self) { try ConsulDecoding.sessionID(Array(bad.utf8)) }
        }
        for bad in ["", "{}", "{\"Errors\":null}", "{\"Errors\":[]}", "{\"Errors\":[{}]}"] {
            #expect(throws: DiscoveryError.self) { try ConsulDecoding.conflicts(Array(bad.utf8)) }
        }
    }

    @Test("what Consul says is shown on one line and shortened, and each trouble has its remedy")
    func explanations() {
        func explain(_ status: Int, _ text: String) -> DiscoveryError {
            ConsulFailure.explain(status: status, Array(text.utf8), ConsulConfiguration(), below: "vip/", "read x")
        }
        let long = explain(500, "a\r\nb\u{1B}[31m" + String(repeating: "x", count: 1000))
        #expect(long.message.contains(": a b [31mxxx") && long.message.count < 400)
        let leaderless = explain(500, "No cluster leader")
        #expect(leaderless.code == .unreachable && leaderless.message.contains("http://127.0.0.1:8500"))
        #expect(explain(301, "").message.contains("redirects"))
        #expect(explain(401, "").message.contains("basic_auth"))
        #expect(explain(404, "404 page not found").message.contains("HTTP port"))
        #expect(explain(503, "").message.contains("503"))
    }
}

private func * (bytes: [UInt8], count: Int) -> [UInt8] { Array([[UInt8]](repeating: bytes, count: count).joined()) }
