import Glibc

/// Writes a message for the user of a command to standard error, followed by a line end.
func complain(_ message: String) {
    let bytes = Array((message + "\n").utf8)
    bytes.withUnsafeBytes { raw in
        var offset = 0
        while offset < raw.count {
            let written = write(STDERR_FILENO, raw.baseAddress?.advanced(by: offset), raw.count - offset)
            // There is nobody left to tell when standard error itself fails.
            if written < 0 && errno != EINTR { return }
            offset += max(0, written)
        }
    }
}
