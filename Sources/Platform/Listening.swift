import Glibc

/// What every listener of the daemon does about a port that it does not get.
public enum Listening {
    /// How long a taken port is waited for. After `kill -9` of daemon and guard a supervisor starts them anew before the
    /// kernel has taken the old daemon apart, which takes it some ten milliseconds.
    public static let patience: Duration = .seconds(2)

    /// Binds, again every 20 ms while the port is taken.
    ///
    /// - Parameters:
    ///   - code: the kernel's error in what `bind` throws; nil when there is none.
    /// - Throws: what `bind` threw last, and `CancellationError`.
    public static func whenFree<Result: Sendable>(
        within patience: Duration = patience, errno code: (any Error) -> Int32?,
        isolation: isolated (any Actor)? = #isolation, _ bind: () async throws -> Result
    ) async throws -> Result {
        let deadline = BootClock.now.advanced(by: patience)
        while true {
            do {
                return try await bind()
            } catch {
                guard code(error) == EADDRINUSE, BootClock.now < deadline else { throw error }
            }
            try await BootClock().sleep(until: BootClock.now.advanced(by: .milliseconds(20)))
        }
    }

    /// What an operator can do when the kernel refuses to listen; nil when there is no advice.
    ///
    /// - Parameters:
    ///   - code: what the kernel said.
    ///   - flag: the option that names address and port.
    public static func remedy(for code: Int32, port: UInt16, flag: String) -> String? {
        switch code {
        case EADDRINUSE:
            "another process listens there: \"ss -ltnp sport = :\(port)\" shows which; stop it or give \(flag) another port"
        case EADDRNOTAVAIL:
            "this host has no such address (\"ip -brief address\" shows those it has): correct \(flag)"
        case EACCES:
            "ports below 1024 need CAP_NET_BIND_SERVICE: give \(flag) a port from 1024 on"
        default: nil
        }
    }
}
