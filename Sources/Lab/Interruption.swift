import CLinux
import Glibc
import Platform

/// Ctrl-C and SIGTERM in the laboratory's own commands: take everything down, then end.
public enum Interruption {
    // Written once, before the first handler can run.
    private static let descriptor = eventfd(0, Int32(EFD_CLOEXEC))

    /// On SIGINT, SIGTERM or SIGHUP runs `cleanUp`, and ends the process with the usual status 128 + number.
    public static func endsProcess(after cleanUp: @escaping @Sendable () -> Void) throws {
        let descriptor = Self.descriptor
        guard descriptor >= 0 else { throw SystemError.last("make an eventfd") }
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // A handler may do almost nothing (signal-safety(7)): it hands the number to the thread below.
            signal(number) { eventfd_write(Interruption.descriptor, eventfd_t($0)) }
        }
        try OwnThread("lab-signals") {
            var number = eventfd_t()
            while eventfd_read(descriptor, &number) != 0 {}
            cleanUp()
            exit(128 + Int32(truncatingIfNeeded: number))
        }.detach()
    }
}
