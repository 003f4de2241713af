import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Platform
import Testing

@testable import API

@Suite struct RouteTests {
    private let control = FakeControlPlane()

    private func ask(
        _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, control: FakeControlPlane? = nil,
        headers: HTTPFields = [:], limits: APILimits = APILimits()
    ) async throws -> (status: Int, body: String, headers: HTTPFields) {
        let server = APIServer(
            bind: HostPort(host: "127.0.0.1", port: 0), control: control ?? self.control,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, limits: limits)
        return try await server.makeApplication().test(.router) { client in
            let response = try await client.executeRequest(
                uri: path, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) })
            return (response.status.code, String(buffer: response.body), response.headers)
        }
    }

    @Test("the status has the seed's four fields with the seed's types, and ours beside them, as JSON with a line end")
    func status() async throws {
        let answer = try await ask(.get, "/status")
        #expect(answer.status == 200 && answer.headers[.contentType] == "application/json")
        #expect(
            answer.body == #"{"address":"192.0.2.2:8800","addresses":[{"address":"192.0.2.10/24","detail":"","#
                + #""since":"1970-01-01T00:00:00.000Z","state":"not held"}],"cluster_id":"uuid-c","cluster_members":["#
                + #"{"address":"192.0.2.1:8800","id":1,"name":"one","node_id":"uuid-1","role":"voter"},"#
                + #"{"address":"192.0.2.2:8800","id":12345678901234567890,"role":"stand-by"},"#
                + #"{"address":"192.0.2.3:8800","id":3,"role":"spare"}],"cluster_name":"dqlite-vip","#
                + #""discovery":{"announce_error":null,"key":"prod/web","last_addresses":["192.0.2.1:8800"],"#
                + #""last_contact":null,"last_error":null,"#
                + #""mode":"static+etcd-kv","registered":true},"holds_vip":false,"id":12345678901234567890,"is_leader":false,"leader_id":1,"#
                + #""name":"two","node_id":"uuid-2","state":"formed","term":7,"uptime_seconds":61,"version":"0.1.0","#
                + #""vip":"192.0.2.10/24","waiting_for":"","warnings":[]}"# + "\n")
        let decoded = try JSONDecoder().decode(StatusReport.self, from: Data(answer.body.utf8))
        #expect(decoded == StatusReport.example)
    }

    @Test("the discovery of a daemon before it could register is decoded")
    func olderDiscovery() throws {
        let text = #"{"last_addresses":["a:1"],"last_contact":null,"last_error":null,"mode":"static"}"#
        #expect(
            try JSONDecoder().decode(DiscoveryReport.self, from: Data(text.utf8))
                == DiscoveryReport(mode: "static", lastAddresses: ["a:1"]))
    }

    @Test("a role and a state of a later version are decoded and not refused")
    func openSets() throws {
        let member = try JSONDecoder().decode(
            ClusterMember.self, from: Data(#"{"id":1,"address":"a:1","role":"arbiter","new":true}"#.utf8))
        #expect(member.role.rawValue == "arbiter")
    }

    @Test("the virtual address is empty, is set, is read, is cleared by an empty one and by DELETE")
    func vip() async throws {
        #expect(try await ask(.get, "/vip").body == "{\"vip\":\"\"}\n")
        // What curl -XPUT -d sends in the seed's Quick Start.
        let set = try await ask(
            .put, "/vip", #"{"vip":"192.0.2.10/24"}"#, headers: [.contentType: "application/x-www-form-urlencoded"])
        #expect(set.status == 202 && set.body == "{\"message\":\"OK\"}\n")
        #expect(try await ask(.get, "/vip").body == "{\"vip\":\"192.0.2.10/24\"}\n")
        #expect(try await ask(.put, "/vip", #"{"vip":""}"#).status == 202)
        let deleted = try await ask(.delete, "/vip")
        #expect(deleted.status == 202 && deleted.body == "{\"message\":\"OK\"}\n")
        #expect(control.calls == ["set 192.0.2.10/24", "clear", "clear"])
    }

    @Test("a failover goes to whom it names, or to whom the leader chooses; anything else is refused and does nothing")
    func failover() async throws {
        let done = try await ask(.post, "/v1/failover")
        #expect(done.status == 200)
        #expect(
            done.body
                == #"{"leader_address":"192.0.2.2:8800","leader_id":2,"message":"OK","seamless":true,"took_ms":9}"#
                + "\n")
        for body in ["{}", #"{"to":null}"#, #"{"to":""}"#, #"{"to":"two"}"#] {
            #expect(try await ask(.post, "/v1/failover", body).status == 200)
        }
        for body in ["two", "[]", #"{"to":2}"#] {
            #expect(try await ask(.post, "/v1/failover", body).status == 400)
        }
        #expect(try await ask(.get, "/v1/failover").status == 405)
        #expect(control.calls == ["failover -", "failover -", "failover -", "failover -", "failover two"])
    }

    @Test(
        "several addresses are set and read as a list; the original's one address is the first, and takes their place")
    func addresses() async throws {
        #expect(try await ask(.get, "/v1/vip").body == "{\"addresses\":[]}\n")
        let set = try await ask(.put, "/v1/vip", #"{"addresses":["192.0.2.10/24","2001:db8::10/64"]}"#)
        #expect(set.status == 202 && set.body == "{\"message\":\"OK\"}\n")
        #expect(try await ask(.get, "/v1/vip").body == "{\"addresses\":[\"192.0.2.10/24\",\"2001:db8::10/64\"]}\n")
        #expect(try await ask(.get, "/vip").body == "{\"vip\":\"192.0.2.10/24\"}\n")
        #expect(try await ask(.put, "/vip", #"{"vip":"192.0.2.11/24"}"#).status == 202)
        #expect(try await ask(.get, "/v1/vip").body == "{\"addresses\":[\"192.0.2.11/24\"]}\n")
        #expect(try await ask(.put, "/v1/vip", #"{"addresses":[]}"#).status == 202)
        #expect(try await ask(.delete, "/v1/vip").status == 202)
        #expect(
            control.calls == ["set 192.0.2.10/24 and 2001:db8::10/64", "set 192.0.2.11/24", "clear", "clear"])
    }

    @Test(
        "a list that is none is refused with what was expected",
        arguments: [
            ("", "the body is empty"), ("[]", "the body is not a JSON object"),
            (#"{"vip":"192.0.2.10/24"}"#, "the body has no \"addresses\""),
            (#"{"addresses":"192.0.2.10/24"}"#, "\"addresses\" is not a list of texts"),
            (#"{"addresses":[1]}"#, "\"addresses\" is not a list of texts"),
            (#"{"addresses":null}"#, "\"addresses\" is not a list of texts"), ("x", "the body is not JSON"),
        ])
    func badList(body: String, reason: String) async throws {
        let answer = try await ask(.put, "/v1/vip", body)
        #expect(answer.status == 400 && answer.body.contains("\(reason.replacing("\"", with: "\\\""))"), "\(answer)")
        #expect(answer.body.contains("192.0.2.10/24"))
        #expect(control.calls.isEmpty)
    }

    @Test("the text goes to the control plane as it came, and a field that is not known is no error")
    func untouched() async throws {
        #expect(try await ask(.put, "/vip", #" {"vip":" 1.2.3.4\/é ","x":1} "#).status == 202)
        #expect(control.calls == ["set  1.2.3.4/é "])
    }

    @Test(
        "a body that is not what was expected is 400 with what was expected, and changes nothing",
        arguments: [
            ("", "the body is empty"), ("vip=1.2.3.4/24", "the body is not JSON"), ("{", "the body is not JSON"),
            (#"{"vip":"1.2.3.4/24"} x"#, "the body is not JSON"), ("{}", "the body has no \"vip\""),
            (#"{"VIP":"1.2.3.4/24"}"#, "the body has no \"vip\""), (#"{"vip":null}"#, "\"vip\" is not a text"),
            (#"{"vip":12}"#, "\"vip\" is not a text"), (#"{"vip":["1.2.3.4/24"]}"#, "\"vip\" is not a text"),
            (#""1.2.3.4/24""#, "the body is not a JSON object"), ("[]", "the body is not a JSON object"),
            ("null", "the body is not a JSON object"), ("\0", "the body is not JSON"),
            (String(repeating: "[", count: 60_000), "the body is not JSON"),
        ])
    func badBodies(body: String, reason: String) async throws {
        let answer = try await ask(.put, "/vip", body)
        #expect(answer.status == 400)
        let message = try JSONDecoder().decode(MessageDocument.self, from: Data(answer.body.utf8)).message
        #expect(message.hasPrefix(reason + ": expected {\"vip\":"), "\(message)")
        #expect(control.calls.isEmpty)
    }

    @Test(
        "an error of the control plane has its status and its message",
        arguments: zip(ControlError.Kind.allCases, [400, 404, 409, 412, 503, 500]))
    func errors(kind: ControlError.Kind, status: Int) async throws {
        control.change { $0.error = ControlError(kind, "because \"\(kind)\"") }
        for answer in [
            try await ask(.get, "/vip"), try await ask(.put, "/vip", #"{"vip":"x"}"#), try await ask(.delete, "/vip"),
        ] {
            #expect(answer.status == status)
            #expect(answer.body == "{\"message\":\"because \\\"\(kind)\\\"\"}\n")
            #expect((answer.headers[.retryAfter] != nil) == (status == 503))
        }
    }

    @Test("the entity tag is the whole list of addresses, and If-Match hands it back as a condition")
    func entityTags() async throws {
        #expect(try await ask(.get, "/v1/vip").headers[.eTag] == "\"\"")
        control.change { $0.addresses = ["192.0.2.1/24", "2001:db8::1/64"] }
        for path in ["/vip", "/v1/vip"] {
            #expect(try await ask(.get, path).headers[.eTag] == "\"192.0.2.1/24,2001:db8::1/64\"")
        }
        let set = "set 192.0.2.2/24"
        for (tag, call) in [
            (#""192.0.2.1/24,2001:db8::1/64""#, #"\#(set) if [["192.0.2.1/24", "2001:db8::1/64"]]"#),
            (#" "192.0.2.1/24" , W/"x","", "y" "#, #"\#(set) if [["192.0.2.1/24"], [], ["y"]]"#),
            (#"W/"192.0.2.1/24""#, #"\#(set) if []"#), ("*", set), (" * ", set),
        ] {
            let answer = try await ask(.put, "/vip", #"{"vip":"192.0.2.2/24"}"#, headers: [.ifMatch: tag])
            #expect(answer.status == 202 && control.calls.last == call, "\(tag): \(answer.body)")
        }
        _ = try await ask(.put, "/v1/vip", #"{"addresses":["192.0.2.2/24"]}"#, headers: [.ifMatch: "\"\""])
        _ = try await ask(.delete, "/v1/vip", headers: [.ifMatch: #""192.0.2.2/24""#])
        #expect(control.calls.suffix(2) == [#"\#(set) if [[]]"#, #"clear if [["192.0.2.2/24"]]"#])
    }

    @Test(
        "an If-Match that is no list of entity tags is refused, and nothing is changed",
        arguments: ["", "192.0.2.1/24", "\"192.0.2.1/24", #""a" "b""#, #"x"a""#, #"*, "a""#, ",", "W/", #"w/"a""#])
    func badEntityTags(tag: String) async throws {
        let answer = try await ask(.put, "/vip", #"{"vip":"192.0.2.2/24"}"#, headers: [.ifMatch: tag])
        #expect(answer.status == 400 && answer.body.contains("If-Match: "), "\(tag): \(answer.body)")
        #expect(control.calls.isEmpty)
    }

    @Test("nodes: the list, one of them by any name, and its removal, which may be forced")
    func nodes() async throws {
        let list = try await ask(.get, "/v1/nodes")
        #expect(list.status == 200)
        #expect(list.body.contains(#""failures_survived":1"#) && list.body.contains(#""removed":[]"#))
        for name in ["1", "one", "uuid-1", "192.0.2.1", "192.0.2.1%3A8800"] {
            let one = try await ask(.get, "/v1/nodes/\(name)")
            #expect(one.status == 200 && one.body.contains(#""node_id":"uuid-1""#), "\(name): \(one.body)")
        }
        #expect(try await ask(.get, "/v1/nodes/four").status == 404)
        let removed = try await ask(.delete, "/v1/nodes/192.0.2.3%3a8800")
        #expect(removed.status == 200)
        #expect(
            removed.body
                == #"{"address":"192.0.2.3:8800","id":3,"name":"three","node_id":"uuid-3","reason":"removed","#
                + #""removed_at":"1970-01-01T00:00:00.000Z"}"# + "\n")
        #expect(try await ask(.delete, "/v1/nodes/n%20x?force=true").status == 200)
        #expect(control.calls == ["remove 192.0.2.3:8800", "remove n x by force"])
        #expect(try await ask(.delete, "/v1/nodes/3?force=maybe").status == 400)
        #expect(try await ask(.delete, "/v1/nodes/%zz").status == 400)
        #expect(try await ask(.put, "/v1/nodes/3").status == 405)
        #expect(try await ask(.delete, "/v1/nodes").status == 405)
    }

    @Test("an unknown path is 404 and another method is 405 with those that are possible, both as JSON")
    func unknown() async throws {
        let missing = try await ask(.get, "/statuses")
        #expect(missing.status == 404)
        #expect(
            missing.body
                == "{\"message\":\"there is no /statuses here: see /status, /v1/vip, /v1/failover, /vip, /metrics, /healthz, /readyz\"}\n"
        )
        #expect(try await ask(.get, "/").status == 404)
        let post = try await ask(.post, "/vip", #"{"vip":"x"}"#)
        #expect(post.status == 405 && post.headers[.allow] == "DELETE, GET, HEAD, PUT")
        #expect(post.body == "{\"message\":\"POST is not possible on /vip: use DELETE, GET, HEAD, PUT\"}\n")
        for method: HTTPRequest.Method in [.put, .post, .delete, .patch, .options] {
            #expect(try await ask(method, "/status").status == 405)
        }
        #expect(control.calls.isEmpty)
    }

    @Test("HEAD is GET without the body")
    func head() async throws {
        let get = try await ask(.get, "/status")
        let head = try await ask(.head, "/status")
        #expect(head.status == 200 && head.body.isEmpty)
        #expect(head.headers[.contentLength] == "\(get.body.utf8.count)")
    }

    @Test("health and readiness are 200, or 503 with the reasons")
    func health() async throws {
        #expect(try await ask(.get, "/healthz").body == "{\"alive\":true,\"reasons\":[]}\n")
        #expect(try await ask(.get, "/readyz").body == "{\"ready\":true,\"reasons\":[]}\n")
        control.change {
            $0.health = HealthReport(isAlive: false, reasons: ["a"])
            $0.readiness = ReadinessReport(isReady: false, reasons: ["no leader", "b"])
        }
        let health = try await ask(.get, "/healthz")
        #expect(health.status == 503 && health.body == "{\"alive\":false,\"reasons\":[\"a\"]}\n")
        let readiness = try await ask(.get, "/readyz")
        #expect(readiness.status == 503 && readiness.body == "{\"ready\":false,\"reasons\":[\"no leader\",\"b\"]}\n")
    }

    @Test("a body of exactly the limit is read, one byte more is 413 on any path")
    func bodyLimit() async throws {
        var limits = APILimits()
        limits.bodyBytes = 100
        let head = #"{"vip":"x"}"#
        let fits = head + String(repeating: " ", count: 100 - head.utf8.count)
        #expect(try await ask(.put, "/vip", fits, limits: limits).status == 202)
        let tooLong = try await ask(.put, "/vip", fits + " ", limits: limits)
        #expect(tooLong.status == 413)
        #expect(tooLong.body == "{\"message\":\"the body is larger than 100 bytes\"}\n")
        #expect(try await ask(.get, "/status", fits + " ", limits: limits).status == 413)
    }

    @Test("a control plane that does not answer in time is 503, even when it does not heed its cancellation")
    func requestTime() async throws {
        var limits = APILimits()
        limits.requestTime = .milliseconds(50)
        let start = BootClock.now
        let answer = try await ask(
            .put, "/vip", #"{"vip":"x"}"#, control: FakeControlPlane(hangs: .seconds(20)), limits: limits)
        #expect(answer.status == 503 && answer.body.contains("no answer within"))
        #expect(start.duration(to: BootClock.now) < .seconds(10))
    }
}
