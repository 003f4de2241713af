import CCurl
import Platform

/// The transfers of one thread and the connections that they share: libcurl's multi interface.
struct Transfers: ~Copyable {
    private let multi: UnsafeMutableRawPointer
    private var byID: [UInt64: Transfer] = [:]
    private var ids: [UnsafeMutableRawPointer: UInt64] = [:]

    // Must run before any other function of libcurl; a static is made once, whatever thread comes first.
    private static let globalInit = ccurl_global_init()

    init(idleConnections: Int) throws(CurlFailure) {
        guard Self.globalInit == 0, let multi = ccurl_multi_init() else {
            let reason = String(
                cString: ccurl_text(Self.globalInit == 0 ? Int32(ccurl_failed_init.rawValue) : Self.globalInit))
            throw CurlFailure(code: .other, text: "libcurl cannot be initialised: \(reason)")
        }
        self.multi = multi
        // 0 would be libcurl's own bound, which grows with the number of transfers.
        ccurl_multi_set_long(multi, ccurl_multi_max_connects, max(idleConnections, 1))
    }

    deinit {
        for transfer in byID.values { ccurl_multi_remove(multi, transfer.handle) }
        ccurl_multi_cleanup(multi)
    }

    var bell: TransferBell { TransferBell(multi: multi) }
    var isEmpty: Bool { byID.isEmpty }

    /// - Returns: why it cannot begin; nil when it did.
    mutating func begin(_ id: UInt64, _ request: CurlRequest) -> CurlFailure? {
        do throws(CurlFailure) {
            let transfer = try Transfer(request)
            try check(ccurl_multi_add(multi, transfer.handle))
            byID[id] = transfer
            ids[transfer.handle] = id
            return nil
        } catch {
            return error
        }
    }

    /// Ends a transfer without a result; closes its connection.
    mutating func abort(_ id: UInt64) {
        guard let transfer = byID[id] else { return }
        remove(id, transfer)
    }

    /// Does what can be done without waiting.
    ///
    /// - Returns: the transfers that are done.
    mutating func perform() throws(CurlFailure) -> [(id: UInt64, result: Result<CurlAnswer, CurlFailure>)] {
        try check(ccurl_multi_perform(multi))
        var results: [(id: UInt64, result: Result<CurlAnswer, CurlFailure>)] = []
        var code: Int32 = 0
        while let handle = ccurl_multi_next_done(multi, &code) {
            guard let id = ids[handle], let transfer = byID[id] else { continue }
            results.append((id, transfer.result(of: code)))
            remove(id, transfer)
        }
        return results
    }

    /// Until there is something to do, the bell rings, or the time is over.
    func wait(atMost time: Duration) throws(CurlFailure) {
        // Rounded up: a wait of 0 ms would be no wait.
        try check(ccurl_multi_poll(multi, Int32(clamping: max(time.inMilliseconds, 0) + 1)))
    }

    private mutating func remove(_ id: UInt64, _ transfer: Transfer) {
        ccurl_multi_remove(multi, transfer.handle)
        ids[transfer.handle] = nil
        byID[id] = nil
    }

    private func check(_ code: Int32) throws(CurlFailure) {
        guard code != 0 else { return }
        throw CurlFailure(code: .other, text: "libcurl: " + String(cString: ccurl_multi_text(code)))
    }
}

/// Wakes the thread that waits in `Transfers.wait`. Valid as long as the `Transfers` are.
///
/// Unchecked: all it does is to call curl_multi_wakeup, the one function of the multi interface that libcurl allows to
/// any thread while others are at work.
struct TransferBell: @unchecked Sendable {
    fileprivate let multi: UnsafeMutableRawPointer

    func ring() {
        // It writes to a pipe. The only failure is that of a full one, and then the thread wakes anyway.
        ccurl_multi_wakeup(multi)
    }
}
