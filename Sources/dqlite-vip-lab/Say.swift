import Glibc
import Platform

/// Writes a line to standard output at once: print(_:) would hold lines back in a pipe until the end.
func say(_ text: String) { write(text, to: STDOUT_FILENO) }

/// Writes a line to standard error: progress, apart from the figures.
func remark(_ text: String) { write(text, to: STDERR_FILENO) }

private func write(_ text: String, to descriptor: Int32) {
    var rest = Array((text + "\n").utf8)[...]
    while !rest.isEmpty {
        // Nobody is left to tell when the output is gone.
        guard
            let count = try? retryingOnInterrupt(
                "write", "", { rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) } })
        else { return }
        rest = rest.dropFirst(count)
    }
}
