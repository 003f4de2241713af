import Glibc
import Synchronization

/// Where lines of the log go.
protocol LogSink: Sendable {
    /// Takes one whole line, its line feed included. Called from any thread.
    func write(_ line: [UInt8])
}

/// Writes lines to a file descriptor, each by one write(2), so that those of the guard and of its child do not mix.
final class DescriptorSink: LogSink {
    private let descriptor: Int32
    /// Held over a line: a write to a pipe that is longer than PIPE_BUF may be taken in parts. True after a line was
    /// dropped, until there is room again.
    private let turn = Mutex(false)

    /// - Parameter descriptor: stays the caller's, and open as long as the sink is used.
    init(_ descriptor: Int32 = STDERR_FILENO) {
        self.descriptor = descriptor
    }

    func write(_ line: [UInt8]) {
        turn.withLock { isStuck in
            // A reader that has stopped must not stop the daemon, least of all the thread that holds the address.
            var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            isStuck = poll(&room, 1, isStuck ? 0 : 20) == 0
            if isStuck { return }
            line.withUnsafeBytes { raw in
                var offset = 0
                while offset < raw.count {
                    let count = Glibc.write(descriptor, raw.baseAddress?.advanced(by: offset), raw.count - offset)
                    if count >= 0 {
                        offset += count
                    } else if errno == EAGAIN {
                        // Somebody made the descriptor non-blocking, and its reader is slow. A line is worth a short wait.
                        var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                        if Glibc.poll(&poll, 1, 100) == 0 { return }
                    } else if errno != EINTR {
                        // The reader has gone. There is nobody to tell, and the daemon does its work without a log.
                        return
                    }
                }
            }
        }
    }
}
