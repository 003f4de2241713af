import Glibc

/// A system call that failed: what was tried, on what, and the errno; with advice when the caller has any.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried, in words: "open", "bind the cluster port".
    public var operation: String
    /// On what: a path, an address, an interface. Empty when there is nothing to name.
    public var subject: String
    /// The errno of the call; see errno(3).
    public var errno: Int32
    /// What the operator can do about it.
    public var remedy: String?

    public init(_ operation: String, _ subject: String = "", errno code: Int32, remedy: String? = nil) {
        self.operation = operation
        self.subject = subject
        self.errno = code
        self.remedy = remedy
    }

    /// Takes the calling thread's errno. Call it right after the failed call.
    public static func last(_ operation: String, _ subject: String = "", remedy: String? = nil) -> SystemError {
        SystemError(operation, subject, errno: Glibc.errno, remedy: remedy)
    }

    /// The same failure, with what to do about it.
    public func advised(_ remedy: String?) -> SystemError {
        SystemError(operation, subject, errno: errno, remedy: remedy)
    }

    public var description: String {
        let target = subject.isEmpty ? "" : " \(subject)"
        let advice = remedy.map { ": \($0)" } ?? ""
        return "cannot \(operation)\(target): \(Self.text(of: errno)) (errno \(errno))\(advice)"
    }

    /// The kernel's words for an errno.
    public static func text(of code: Int32) -> String {
        String(cString: strerror(code))
    }
}

/// Repeats a system call while it is interrupted by signals.
///
/// - Throws: `SystemError` when it answers −1 with any errno but EINTR.
@discardableResult
public func retryingOnInterrupt(
    _ operation: String, _ subject: @autoclosure () -> String = "", _ call: () -> Int
) throws(SystemError) -> Int {
    while true {
        let result = call()
        if result != -1 { return result }
        let code = Glibc.errno
        if code != EINTR { throw SystemError(operation, subject(), errno: code) }
    }
}

@discardableResult
public func retryingOnInterrupt(
    _ operation: String, _ subject: @autoclosure () -> String = "", _ call: () -> Int32
) throws(SystemError) -> Int32 {
    Int32(try retryingOnInterrupt(operation, subject()) { Int(call()) })
}
