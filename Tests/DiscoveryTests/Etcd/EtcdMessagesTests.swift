import Testing

@testable import Discovery

/// Answers as etcd 3.4.23 gave them, and others.
@Suite("etcd: messages")
struct EtcdMessagesTests {
    private static let granted = #"{"header":{"revision":"1"},"ID":"2324035519349542917","TTL":"15"}"#
    private static let kept = #"{"result":{"header":{"revision":"1"},"ID":"77","TTL":"15"}}"# + "\n"
    private static let read =
        #"{"header":{"revision":"3"},"succeeded":true,"responses":[{"response_range":{"header":{"revision":"3"},"kvs":"#
        + #"[{"key":"L2svbm9kZXMvYQ==","create_revision":"2","mod_revision":"2","version":"1","value":"aGVsbG8=","#
        + #""lease":"77"}],"count":"1"}},{"response_range":{"header":{"revision":"3"}}}]}"#
    private static let refused =
        #"{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}"#
    private static let all = [granted, kept, read, refused, #"{"header":{},"token":"abc.7"}"#]

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("a lease: its id and time to live; anything else is none")
    func leases() {
        #expect(
            EtcdMessages.granted(bytes(Self.granted))
                == EtcdMessages.Lease(id: 2_324_035_519_349_542_917, timeToLive: 15))
        #expect(EtcdMessages.granted(bytes(#"{"ID":7,"TTL":3}"#)) == EtcdMessages.Lease(id: 7, timeToLive: 3))
        for text in [#"{"ID":"7"}"#, #"{"TTL":"7"}"#, #"{"ID":"7","TTL":"-1"}"#, #"{"ID":"x","TTL":"1"}"#, "[]", ""] {
            #expect(EtcdMessages.granted(bytes(text)) == nil)
        }
    }

    @Test("a renewal: of a lease that is known, of one that is not, and the first of several on the stream")
    func renewals() {
        #expect(EtcdMessages.keptAlive(bytes(Self.kept)) == EtcdMessages.Lease(id: 77, timeToLive: 15))
        #expect(
            EtcdMessages.keptAlive(bytes(#"{"result":{"header":{},"ID":"78"}}"#))
                == EtcdMessages.Lease(id: 78, timeToLive: 0))
        #expect(
            EtcdMessages.keptAlive(bytes(Self.kept + "{\"result\":{}}")) == EtcdMessages.Lease(id: 77, timeToLive: 15))
        #expect(EtcdMessages.keptAlive(bytes(#"{"error":{"message":"no"}}"#)) == nil)
    }

    @Test("a transaction: what was found, in both spellings; a key that is not in base64 spoils it")
    func transactions() {
        let pair = EtcdMessages.KeyValue(
            key: bytes("/k/nodes/a"), value: bytes("hello"), modRevision: 2, lease: 77)
        let transaction = EtcdMessages.Transaction(succeeded: true, ranges: [[pair], []])
        #expect(EtcdMessages.transaction(bytes(Self.read)) == transaction)
        let camel = Self.read.replacing("response_range", with: "responseRange").replacing(
            "mod_revision", with: "modRevision")
        #expect(EtcdMessages.transaction(bytes(camel)) == transaction)
        #expect(
            EtcdMessages.transaction(bytes(#"{"header":{}}"#)) == EtcdMessages.Transaction(succeeded: false, ranges: [])
        )
        #expect(EtcdMessages.transaction(bytes(Self.read.replacing("aGVsbG8=", with: "%"))) == nil)
        #expect(EtcdMessages.transaction(bytes("{}")) == nil)
    }

    @Test("what etcd says when it refuses, also on a stream, in one short line")
    func failures() {
        #expect(
            EtcdMessages.failure(bytes(Self.refused))
                == EtcdMessages.Failure(code: 5, message: "etcdserver: requested lease not found"))
        #expect(
            EtcdMessages.failure(bytes(#"{"error":{"grpc_code":16,"http_code":401,"message":"invalid auth token"}}"#))
                == EtcdMessages.Failure(code: 16, message: "invalid auth token"))
        #expect(EtcdMessages.failure(bytes("Not Found\n")) == nil)
        #expect(
            EtcdMessages.failure(bytes("CommonName of client is not used\n"))
                == EtcdMessages.Failure(code: nil, message: "CommonName of client is not used"))
        let long = EtcdMessages.plain("a\u{1B}[31m\nb" + String(repeating: "x", count: 1000))
        #expect(long.hasPrefix("a [31m b") && long.count == 201)
    }

    @Test("a token is printable, since it becomes a header")
    func tokens() {
        #expect(EtcdMessages.token(bytes(#"{"header":{},"token":"abc.7"}"#)) == "abc.7")
        for token in ["", "a b", "a\\r\\nX: y", "ü"] {
            #expect(EtcdMessages.token(bytes(#"{"token":"\#(token)"}"#)) == nil)
        }
    }

    @Test("requests: the end of a prefix is behind its last key; what is unset is compared as such")
    func requests() {
        #expect(
            String(decoding: EtcdMessages.read(prefix: "/k/nodes/", limit: 9, key: "/k/leader"), as: UTF8.self)
                == #"{"success":[{"request_range":{"key":"L2svbm9kZXMv","limit":"9","range_end":"L2svbm9kZXMw"}},"#
                + #"{"request_range":{"key":"L2svbGVhZGVy"}}]}"#)
        let put = #""success":[{"request_put":{"key":"L2svbGVhZGVy","lease":"7","value":"eA=="}}]}"#
        func text(_ revision: UInt64?) -> String {
            String(
                decoding: EtcdMessages.putIfUnchanged("/k/leader", bytes("x"), lease: "7", modRevision: revision),
                as: UTF8.self)
        }
        #expect(
            text(nil)
                == #"{"compare":[{"key":"L2svbGVhZGVy","result":"EQUAL","target":"VERSION","version":"0"}],"# + put)
        #expect(
            text(12)
                == #"{"compare":[{"key":"L2svbGVhZGVy","mod_revision":"12","result":"EQUAL","target":"MOD"}],"# + put)
    }

    @Test("every decoder survives any bytes: cut off, changed, put together wrongly, deeply nested")
    func anyBytes() {
        var dice = Dice(seed: 3)
        func decodeAll(_ bytes: [UInt8]) {
            _ = EtcdMessages.granted(bytes)
            _ = EtcdMessages.keptAlive(bytes)
            _ = EtcdMessages.token(bytes)
            if let failure = EtcdMessages.failure(bytes) { #expect(failure.message.unicodeScalars.count <= 201) }
            _ = EtcdMessages.transaction(bytes)
            _ = RecordCoding.leader(bytes)
            _ = RecordCoding.address(bytes)
        }
        for text in Self.all {
            for length in 0..<text.utf8.count { decodeAll(Array(text.utf8.prefix(length))) }
            for _ in 0..<400 {
                var changed = bytes(text)
                for _ in 0...dice.next() % 4 {
                    let index = Int(dice.next() % UInt64(changed.count))
                    if dice.next() % 2 == 0 {
                        changed[index] = UInt8(truncatingIfNeeded: dice.next())
                    } else {
                        changed.replaceSubrange(index..<index, with: bytes(Self.all[Int(dice.next() % 5)]).prefix(40))
                    }
                }
                decodeAll(changed)
            }
        }
        decodeAll(bytes(String(repeating: "[", count: 100_000)))
        decodeAll(bytes(String(repeating: "{\"result\":", count: 10_000)))
        decodeAll(bytes("{\"ID\":1e999,\"TTL\":-99999999999999999999}"))
    }
}
