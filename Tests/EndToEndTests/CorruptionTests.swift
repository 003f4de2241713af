import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Damaged disks")
    struct CorruptionTests {
        /// The segment in which the newest entry is, and where its content ends.
        private func newestSegment(_ node: LabNode) throws -> (path: String, end: Int) {
            let raft = node.dataDirectory + "/raft"
            let names = try #require(try Directory.names(raft))
            let open = names.filter { $0.hasPrefix("open-") }.sorted {
                (Int($0.dropFirst(5)) ?? 0) > (Int($1.dropFirst(5)) ?? 0)
            }
            for name in open + names.filter({ $0.first?.isNumber == true }).sorted(by: >) {
                let bytes = try #require(try DurableFile.read("\(raft)/\(name)", limit: 64 << 20))
                if let last = bytes.lastIndex(where: { $0 != 0 }) { return ("\(raft)/\(name)", last) }
            }
            throw LabError("node \(node.number) has no entries")
        }

        private func flip(_ path: String, at offset: Int) throws {
            let descriptor = open(path, O_RDWR)
            defer { close(descriptor) }
            var byte: UInt8 = 0
            #expect(pread(descriptor, &byte, 1, off_t(offset)) == 1)
            byte ^= 0x55
            #expect(pwrite(descriptor, &byte, 1, off_t(offset)) == 1)
        }

        /// Waits until the node has noted how far its log is committed.
        private func marked(_ node: LabNode) async throws -> String {
            let file = node.dataDirectory + "/stored"
            var last: [UInt8]?
            return try await eventually("note of the committed log", within: .seconds(8), every: .milliseconds(1300)) {
                let bytes = try DurableFile.read(file)
                defer { last = bytes }
                return bytes != nil && bytes == last ? String(decoding: bytes ?? [], as: UTF8.self) : nil
            }
        }

        /// Starts the node and expects it to refuse, for good.
        private func refusal(of node: LabNode) async throws -> String {
            let mark = node.logText.utf8.count
            let process = try node.startAgain()
            let status = try await process.exit(within: .seconds(10))
            #expect("\(status)".contains("78"), "\(status): \(node.logTail())")
            return String(decoding: node.logText.utf8.dropFirst(mark), as: UTF8.self)
        }

        @Test(
            "a follower with a damaged log never votes with it: it says which file, and joins anew when it is moved away"
        )
        func oneOfThree() async throws {
            try await withCluster { lab, before in
                let node = lab[before.leader % 3 + 1]
                for last in 111...114 { _ = try await node.setVIP("10.42.0.\(last)/24") }
                _ = try await marked(node)
                try await node.kill9()
                let segment = try newestSegment(node)
                // As the product names it, which was started beside its data directory.
                let name = String(segment.path.dropFirst(node.directory.utf8.count + 1))

                // In the middle: what came after it is there.
                try flip(segment.path, at: segment.end / 2)
                #expect(try await refusal(of: node).contains(name))
                try flip(segment.path, at: segment.end / 2)
                // At the end: nothing but the note beside the log tells it from a torn write.
                try flip(segment.path, at: segment.end)
                let text = try await refusal(of: node)
                #expect(text.contains("was committed: the end of the log is missing"), "\(text)")
                #expect(text.contains("move data away") && text.contains("recover --data-dir data"), "\(text)")
                try flip(segment.path, at: segment.end)
                // The vote.
                try flip(node.dataDirectory + "/raft/metadata1", at: 0)
                #expect(try await refusal(of: node).contains("/raft/metadata1"))
                try flip(node.dataDirectory + "/raft/metadata1", at: 0)
                // All of the segment.
                try Directory.move(segment.path, to: node.directory + "/aside")
                #expect(try await refusal(of: node).contains("data/raft"))
                let names = try #require(try Directory.names(node.dataDirectory + "/raft"))
                #expect(!names.contains { $0.hasPrefix("corrupt-") }, "\(names)")

                // The others have gone on, and the remedy works.
                let others = lab.nodes.map(\.number).filter { $0 != node.number }
                _ = try await lab.formation(of: others, memberCount: 3)
                try Directory.move(node.dataDirectory, to: node.directory + "/old")
                try node.startAgain()
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                #expect(after.member(node)?.id != before.member(node)?.id)
            }
        }

        @Test("a sound log after kill -9 is not taken for a damaged one")
        func noFalseAlarm() async throws {
            try await withCluster { lab, before in
                for round in 1...4 {
                    let node = lab[round % 3 + 1]
                    async let write = lab[(round + 1) % 3 + 1].setVIP("10.42.0.\(120 + round)/24", within: .seconds(10))
                    try await node.kill9()
                    _ = try? await write
                    try node.startAgain()
                    let after = try await lab.formation(within: .seconds(20))
                    #expect(after.members == before.members)
                }
            }
        }

        @Test("damaged on all nodes: recover goes on with what can be read when its loss is accepted, and not before")
        func onAll() async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                try node.start(StartOptions())
                let before = try await lab.formation()
                for last in 111...113 { _ = try await node.setVIP("10.42.0.\(last)/24") }
                // A sole voter looks at its log every ten seconds, first after one.
                try await node.terminate()
                let segment = try newestSegment(node)
                try flip(segment.path, at: segment.end)
                #expect(try await refusal(of: node).contains("--accept-data-loss"))

                let recover = ["recover", "--data-dir", "data", "--yes"]
                let unaccepted = try await node.command(recover)
                #expect(!unaccepted.isSuccess && unaccepted.error.contains("--accept-data-loss"), "\(unaccepted.text)")
                #expect(unaccepted.output.contains(segment.path.split(separator: "/").suffix(2).joined(separator: "/")))
                let done = try await node.command(recover + ["--accept-data-loss"])
                #expect(done.isSuccess, "\(done.text)")
                try node.startAgain()
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID != before.clusterID)
                let vip = try await node.vip()
                #expect(["10.42.0.112/24", "10.42.0.113/24"].contains(vip), "\(vip)")
                #expect(try await node.setVIP(lab.vipText).status == 202)
            }
        }
    }
}
