import ArgumentParser
import Glibc

/// Where the commands write: the only place that does (the log of the daemon is `LogSink`'s). It takes nothing but
/// `PrintableText`.
enum Terminal {
    /// Writes to standard output.
    ///
    /// - Parameter ending: what follows the text, unless it ends with a line end already; "" for nothing.
    /// - Throws: `ExitStatus.failure` when it cannot be written; that has been told then.
    static func show(_ text: PrintableText, ending: PrintableText = "\n") throws {
        guard let code = write(text.ended(by: ending), to: STDOUT_FILENO) else { return }
        complain("dqlite-vip: cannot write to standard output: \(String(cString: strerror(code)))")
        throw ExitStatus.failure
    }

    /// Writes a message for the user of a command to standard error; it ends with a line end.
    static func complain(_ message: PrintableText) {
        // There is nobody left to tell when standard error itself fails.
        _ = write(message.ended(by: "\n"), to: STDERR_FILENO)
    }

    /// - Returns: the errno of a write that failed.
    private static func write(_ text: PrintableText, to descriptor: Int32) -> Int32? {
        let bytes = Array(text.description.utf8)
        return bytes.withUnsafeBytes { raw in
            var offset = 0
            while offset < raw.count {
                let written = Glibc.write(descriptor, raw.baseAddress?.advanced(by: offset), raw.count - offset)
                let code = errno
                if written >= 0 {
                    offset += written
                } else if code == EAGAIN {
                    // Somebody made the descriptor non-blocking.
                    var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&room, 1, -1)
                } else if code != EINTR {
                    return code
                }
            }
            return nil
        }
    }
}

extension PrintableText {
    fileprivate func ended(by ending: PrintableText) -> PrintableText {
        description.utf8.last == UInt8(ascii: "\n") ? self : self + ending
    }
}

/// Stands before that of the standard library, so that the compiler refuses what would go past `Terminal`.
@available(*, unavailable, message: "what a command prints goes through Terminal.show, which makes it printable")
func print(_ items: Any..., separator: String = " ", terminator: String = "\n") {}
