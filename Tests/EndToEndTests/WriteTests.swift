import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Writes and quorum")
    struct WriteTests {
        @Test("a write through any node is seen by all")
        func throughEachNode() async throws {
            try await withCluster { lab, _ in
                for node in lab.nodes {
                    let text = "10.42.0.\(110 + node.number)/24"
                    let answer = try await node.setVIP(text)
                    #expect(answer.status == 202)
                    #expect(answer.message == "OK")
                    #expect(try await node.vip() == text)
                    for other in lab.nodes {
                        try await eventually("\(text) at node \(other.number)", within: .seconds(2)) {
                            try await other.vip() == text
                        }
                    }
                    // And the address itself follows.
                    let address = try #require(IPAddress("10.42.0.\(110 + node.number)"))
                    try await eventually("holder of \(text)", within: .seconds(3)) {
                        lab.witness.holders(of: address).count == 1
                    }
                }
                let deleted = try await lab[2].request("DELETE", "/vip")
                #expect(deleted.status == 202)
                try await eventually("no address anywhere", within: .seconds(3)) {
                    try lab.nodes.allSatisfy { try lab.network.addresses(ofNode: $0.number).count == 1 }
                }
                #expect(try await lab[2].vip().isEmpty)
            }
        }

        @Test("nothing that was acknowledged is lost in a fail-over", arguments: [Fault.kill9, .terminate, .linkCut])
        func duringFailover(fault: Fault) async throws {
            try await withCluster { lab, _ in
                let leader = try await lab.settled(for: .milliseconds(500))
                // Through a node that survives, one write after the other, before, during and after the fault.
                let writer = lab[leader % 3 + 1]
                var acknowledged: Int?
                var attempted = 0
                var refusals = 0
                var brokenAt: Int?
                let start = BootClock.now
                while start.duration(to: BootClock.now) < .seconds(8) {
                    attempted += 1
                    let text = "10.42.0.\(110 + attempted % 100)/24"
                    let answer = try? await writer.setVIP(text)
                    if answer?.status == 202 {
                        acknowledged = attempted
                        if let brokenAt, attempted > brokenAt + 20 { break }
                    } else {
                        refusals += 1
                        #expect(answer == nil || answer?.status == 503)
                        // A write that was not acknowledged may still stand: what is read must be one of those since
                        // the last acknowledged one.
                        if let acknowledged, let read = try? await writer.vip() {
                            let possible = (acknowledged...attempted).map { "10.42.0.\(110 + $0 % 100)/24" }
                            #expect(possible.contains(read), "read \(read) after \(possible)")
                        }
                    }
                    if attempted == 20 {
                        try lab.inject(fault, onNode: leader)
                        brokenAt = attempted
                    }
                }
                let last = try #require(acknowledged)
                #expect(last > (brokenAt ?? 0), "no write succeeded after the fault")
                try await lab.recover(from: fault, onNode: leader)
                _ = try await lab.formation(within: .seconds(20))
                let possible = Set((last...attempted).map { "10.42.0.\(110 + $0 % 100)/24" })
                let final = try await writer.vip()
                #expect(possible.contains(final), "\(final) is none of \(possible); \(refusals) refusals")
                for node in lab.nodes {
                    try await eventually("\(final) at node \(node.number)", within: .seconds(5)) {
                        try await node.vip() == final
                    }
                }
            }
        }

        @Test("If-Match: of those who change one list at once, by different nodes, one is done and the others are told")
        func conditional() async throws {
            try await withCluster { lab, _ in
                func put(_ addresses: [String], by node: Int, ifMatch tag: String) async throws -> HTTPResponse {
                    let list = addresses.map { "\"\($0)\"" }.joined(separator: ",")
                    return try await lab[node].request(
                        "PUT", "/v1/vip", headers: ["If-Match": tag], body: "{\"addresses\":[\(list)]}")
                }
                var tag = try await lab[1].request("GET", "/v1/vip").headers["etag"]
                var list = [lab.vipText]
                #expect(tag == "\"\(lab.vipText)\"")
                for round in 1...5 {
                    let (seen, before) = (try #require(tag), list)
                    let answers = try await withThrowingTaskGroup(of: (Int, HTTPResponse).self) { tasks in
                        for node in 1...3 {
                            tasks.addTask {
                                (node, try await put(before + ["10.43.\(round).\(node)/32"], by: node, ifMatch: seen))
                            }
                        }
                        return try await tasks.reduce(into: [:]) { $0[$1.0] = $1.1 }
                    }
                    let winners = answers.filter { $0.value.status == 202 }.keys
                    let winner = try #require(winners.first)
                    #expect(winners.count == 1)
                    list.append("10.43.\(round).\(winner)/32")
                    for (node, answer) in answers where node != winner {
                        #expect(answer.status == 412)
                        #expect(answer.message.contains("now \(list.joined(separator: ", "))"), "\(answer.text)")
                    }
                    #expect(try await put(list, by: winner % 3 + 1, ifMatch: seen).status == 202, "done already")
                    tag = try await lab[round % 3 + 1].request("GET", "/v1/vip").headers["etag"]
                    #expect(tag == "\"\(list.joined(separator: ","))\"")
                }
                let stale = try await lab[2].request("DELETE", "/vip", headers: ["If-Match": "\"\(lab.vipText)\""])
                #expect(stale.status == 412)
                #expect(try await lab[2].request("DELETE", "/vip", headers: ["If-Match": "*"]).status == 202)
                #expect(try await lab[1].request("GET", "/v1/vip").headers["etag"] == "\"\"")
            }
        }

        @Test(
            "without a quorum writes are refused with 503 and a message, the status answers, and nobody holds the VIP")
        func withoutQuorum() async throws {
            try await withCluster { lab, formation in
                let survivor = formation.leader
                for node in lab.nodes where node.number != survivor { try lab.inject(.kill9, onNode: node.number) }
                try await eventually("loss of leadership", within: .seconds(5)) {
                    try await lab[survivor].status().leaderID == 0
                }
                try await eventually("VIP gone", within: .seconds(3)) {
                    lab.witness.holders(of: lab.vip).isEmpty
                }
                for (method, body) in [("PUT", "{\"vip\":\"10.42.0.120/24\"}" as String?), ("DELETE", nil)] {
                    let answer = try await lab[survivor].request(method, "/vip", body: body, within: .seconds(15))
                    #expect(answer.status == 503)
                    #expect(answer.message.count > 10)
                    #expect(!answer.message.hasPrefix("{"))
                }
                let status = try await lab[survivor].status()
                #expect(status.isLeader == false)
                #expect(status.members.count == 3)
                #expect(try await lab[survivor].request("GET", "/readyz").status == 503)
                #expect(try await lab[survivor].request("GET", "/healthz").status == 200)

                let back = survivor % 3 + 1
                try await lab[back].kill9()
                try lab[back].startAgain()
                _ = try await lab.formation(of: [survivor, back], memberCount: 3, within: .seconds(20))
                let answer = try await lab[survivor].setVIP(lab.vipText)
                #expect(answer.status == 202)
                _ = try await lab.holder()
            }
        }
    }
}
