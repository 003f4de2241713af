import Dqlite
import Glibc
import NIOCore
import NIOPosix
import Platform
import Testing

@Suite("a client and a node that misbehaves")
struct ClientBehaviourTests {
    private static let leader = message(1, hex("0200000000000000 6e32 000000000000"))
    private static let empty = message(8, hex("0000000000000000"))

    private func connect(
        _ node: FakeNode, timeout: Duration = .seconds(5), answerLimit: Int = 1 << 20
    ) async throws -> DqliteClient {
        try await DqliteClient.connect(
            to: node.address, on: MultiThreadedEventLoopGroup.singleton,
            options: .init(timeout: timeout, answerLimit: answerLimit))
    }

    @Test("the connection opens with protocol version 1, then the request")
    func opening() async throws {
        let node = try FakeNode([[.read(24), .write(Self.leader)]])
        let client = try await connect(node)
        #expect(try await client.leader() ?? (0, "") == (2, "n2"))
        #expect(node.bytes == hex("0100000000000000 01000000 00000000 0000000000000000"))
        await client.close()
    }

    @Test("a time-out closes the connection, so that the late answer is nobody's")
    func timeout() async throws {
        let node = try FakeNode([[.read(8)]])
        let client = try await connect(node)
        let late = await dqliteError { _ = try await client.leader(timeout: .milliseconds(30)) }
        #expect(late?.code == .timedOut)
        #expect(late?.mayHaveBeenExecuted == false)
        let next = await dqliteError { _ = try await client.leader() }
        #expect(next?.code == .connectionClosed)
    }

    @Test("a write that timed out may have been executed; one that never left the queue was surely not")
    func timeoutOfWrites() async throws {
        let node = try FakeNode([[.read(8)]])
        let client = try await connect(node, timeout: .milliseconds(200))
        async let sent = dqliteError { try await client.remove(id: 1) }
        async let queued = dqliteError {
            try await Task.sleep(for: .milliseconds(20))
            try await client.remove(id: 2, timeout: .milliseconds(30))
        }
        #expect(await queued?.code == .timedOut)
        #expect(await queued?.mayHaveBeenExecuted == false)
        #expect(await sent?.code == .timedOut)
        #expect(await sent?.mayHaveBeenExecuted == true)
    }

    @Test("a request that timed out in the queue leaves the connection to the others")
    func timeoutInTheQueue() async throws {
        let node = try FakeNode([[.read(24), .read(0), .write([])]])
        let client = try await connect(node, timeout: .seconds(1))
        async let first = dqliteError { _ = try await client.leader() }
        let queued = await dqliteError {
            try await Task.sleep(for: .milliseconds(20))
            _ = try await client.leader(timeout: .milliseconds(20))
        }
        #expect(queued?.code == .timedOut)
        #expect(queued?.message.contains("waiting for the requests before") == true)
        await client.close()
        #expect(await first?.code == .connectionClosed)
    }

    @Test("a cancelled task does not wait for its answer")
    func cancellation() async throws {
        let node = try FakeNode([[.read(8)]])
        let client = try await connect(node)
        let task = Task { await dqliteError { try await client.remove(id: 1) } }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        let error = await task.value
        #expect(error?.code == .cancelled || error?.code == .connectionClosed)
    }

    @Test("the next request is sent only when the answer to the one before is complete")
    func oneAtATime() async throws {
        // Two waiting clients, one answer in single bytes: the second request must not be there before its end.
        let steps: [FakeNode.Step] = [.read(24)] + Self.leader.map { .write([$0]) } + [.read(16), .write(Self.empty)]
        let node = try FakeNode([steps])
        let client = try await connect(node)
        async let first = client.leader()
        async let second: Void = client.setWeight(1)
        _ = try await (first, second)
        #expect(node.bytes.count == 40)
        await client.close()
    }

    @Test(
        "bytes that are no sound answer end the connection with an error, and never the process",
        arguments: [
            hex("0000000000000000"),  // a Failure without code
            message(3, hex("ffffffffffffffff")),  // a list of members to a question about the leader
            message(99, hex("0000000000000000")),
            hex("ffffffff 01 00 0000"),  // 32 GB announced
            message(1, hex("0200000000000000 6162636465666768")),  // a text without end
            message(7, hex("0000000000000000")),
        ])
    func nonsense(_ bytes: [UInt8]) async throws {
        let node = try FakeNode([[.read(24), .write(bytes)]])
        let client = try await connect(node)
        let error = await dqliteError { _ = try await client.leader() }
        #expect(error?.code == .protocolViolation)
        #expect(await dqliteError { _ = try await client.leader() }?.code == .connectionClosed)
    }

    @Test("an answer that nobody asked for ends the connection")
    func unasked() async throws {
        let node = try FakeNode([[.read(24), .write(Self.leader + Self.leader)]])
        let client = try await connect(node)
        _ = try await client.leader()
        try await eventually("the connection is closed") {
            await dqliteError { _ = try await client.leader(timeout: .milliseconds(50)) }?.code == .connectionClosed
        }
    }

    @Test("rows beyond the limit of an answer are refused, also over many messages")
    func answerLimit() async throws {
        let part = message(
            7, hex("0100000000000000 6100000000000000 01 00000000000000 0100000000000000 eeeeeeeeeeeeeeee"))
        let node = try FakeNode([[.read(40)] + (0..<100).map { _ in .write(part) }])
        let client = try await connect(node, answerLimit: 1000)
        let error = await dqliteError { _ = try await client.query("SELECT a FROM t") }
        #expect(error?.code == .protocolViolation)
        #expect(error?.message.contains("limit of 1000") == true)
    }

    @Test("a statement that was finalized, or is another connection's, is refused without asking the node")
    func statements() async throws {
        let prepared = message(5, hex("00000000 00000000 0000000000000000"))
        let node = try FakeNode([
            [.read(8 + 24), .write(prepared), .read(16), .write(Self.empty)], [.read(8 + 24), .write(prepared)],
        ])
        let client = try await connect(node)
        let statement = try await client.prepare("X")
        try await client.finalize(statement)
        #expect(await dqliteError { try await client.exec(statement) }?.code == .noDatabase)
        #expect(await dqliteError { try await client.finalize(statement) }?.code == .noDatabase)
        await client.close()
        let other = try await connect(node)
        _ = try await other.prepare("X")
        #expect(await dqliteError { _ = try await other.query(statement) }?.code == .noDatabase)
        await other.close()
    }

    @Test("connecting to nobody fails as such, with the address")
    func nobody() async throws {
        for address in [
            DqliteAddress.abstractSocket("nobody-\(getpid())"), .tcp(HostPort(host: "127.0.0.1", port: 1)),
            .abstractSocket(String(repeating: "x", count: 108)),
        ] {
            let error = await dqliteError {
                _ = try await DqliteClient.connect(to: address, on: MultiThreadedEventLoopGroup.singleton)
            }
            #expect(error?.code == .connectFailed)
            #expect(error?.message.contains(address.description) == true)
            #expect(throws: DqliteError.self) { _ = try LeaderProbe(address: address, timeout: .seconds(1)) }
        }
    }

    @Test("a client works over TCP too")
    func tcp() async throws {
        let answer = Self.leader
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Answering(after: 24, with: answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        let address = DqliteAddress.tcp(HostPort(host: "127.0.0.1", port: UInt16(port)))
        let client = try await DqliteClient.connect(to: address, on: MultiThreadedEventLoopGroup.singleton)
        #expect(try await client.leader()?.id == 2)
        await client.close()
        var probe = try LeaderProbe(address: address, timeout: .seconds(2))
        #expect(try probe.poll() == 2)
        try await server.close()
    }

    /// Writes its answer when that many bytes have come.
    private final class Answering: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private var left: Int
        private let answer: [UInt8]

        init(after count: Int, with answer: [UInt8]) {
            left = count
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            left -= unwrapInboundIn(data).readableBytes
            if left == 0 { context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: answer)), promise: nil) }
        }
    }
}

@Suite("the leader probe and a node that misbehaves")
struct LeaderProbeTests {
    private static let leader = message(1, hex("0200000000000000 6e32 000000000000"))

    @Test("an answer in single bytes is put together")
    func singleBytes() throws {
        let node = try FakeNode([[.read(24)] + Self.leader.map { .write([$0]) }])
        var probe = try LeaderProbe(address: node.address, timeout: .seconds(5))
        #expect(try probe.poll() == 2)
    }

    @Test("silence ends the probe after its time-out, and it stays ended")
    func silence() throws {
        let node = try FakeNode([[.read(24)]])
        var probe = try LeaderProbe(address: node.address, timeout: .milliseconds(50))
        let start = BootClock.now
        do {
            _ = try probe.poll()
            Issue.record("there was no answer")
        } catch {
            #expect(error.code == .timedOut)
        }
        let elapsed = start.duration(to: BootClock.now)
        #expect(elapsed >= .milliseconds(50) && elapsed < .milliseconds(1000))
        do {
            _ = try probe.poll()
        } catch {
            #expect(error.code == .connectionClosed)
        }
    }

    @Test("half an answer, and then silence, is a time-out too")
    func halfAnswer() throws {
        let node = try FakeNode([[.read(24), .write(Array(Self.leader.prefix(20)))]])
        var probe = try LeaderProbe(address: node.address, timeout: .milliseconds(50))
        do {
            _ = try probe.poll()
            Issue.record("there was no whole answer")
        } catch {
            #expect(error.code == .timedOut)
        }
    }

    @Test(
        "anything but one Leader answer is an error",
        arguments: [
            message(0, hex("0100000000000000 6e6f 000000000000")), message(8, hex("0000000000000000")),
            hex("ffffffff 01 00 0000"), message(1, hex("0200000000000000")), leader + leader,
        ])
    func nonsense(_ bytes: [UInt8]) throws {
        let node = try FakeNode([[.read(24), .write(bytes)]])
        var probe = try LeaderProbe(address: node.address, timeout: .seconds(1))
        do {
            _ = try probe.poll()
            Issue.record("nonsense was taken for an answer")
        } catch {
            #expect(error.code == .protocolViolation)
        }
    }

    @Test("a closed connection is told from a late answer")
    func closed() throws {
        let node = try FakeNode([[.read(24), .close]])
        var probe = try LeaderProbe(address: node.address, timeout: .seconds(5))
        do {
            _ = try probe.poll()
            Issue.record("there was no answer")
        } catch {
            #expect(error.code == .connectionClosed)
        }
    }
}
