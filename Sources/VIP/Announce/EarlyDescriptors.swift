import CLinux
import Glibc
import Synchronization

/// A few descriptor numbers that were taken early and so are low, for packet sockets that are opened later.
///
/// When a process dies, Linux closes its descriptors one after the other, at present the highest first, and at each packet
/// socket it waits for all processors: 10 ms and more (`packet_release`). By the end of the connections the other nodes learn of
/// the death, and what is closed after a packet socket they learn that much later. So the packet sockets get the lowest
/// numbers. Nothing but time depends on it.
final class EarlyDescriptors: Sendable {
    private let free: Mutex<[Int32]>

    /// - Parameter count: how many; without descriptors to spare there are fewer.
    init(_ count: Int) {
        free = Mutex((0..<count).map { _ in Self.placeholder() }.filter { $0 >= 0 })
    }

    deinit {
        for number in free.withLock({ $0 }) { _ = Glibc.close(number) }
    }

    /// Moves an open file to one of the numbers.
    ///
    /// - Returns: its new number; the old one, and nothing is changed, when none is left.
    func take(in descriptor: Int32) -> Int32 {
        free.withLock { free in
            guard let number = free.last, number < descriptor, clinux_replace_descriptor(descriptor, number) == number
            else {
                return descriptor
            }
            free.removeLast()
            _ = Glibc.close(descriptor)
            return number
        }
    }

    /// Closes what `take` moved there, and keeps the number for another. For a packet socket it waits.
    func close(_ number: Int32) {
        let placeholder = Self.placeholder()
        if clinux_replace_descriptor(placeholder, number) == number {
            free.withLock { $0.append(number) }
        } else {
            _ = Glibc.close(number)
        }
        if placeholder >= 0 { _ = Glibc.close(placeholder) }
    }

    /// What holds a number: an eventfd, whose end takes no time.
    private static func placeholder() -> Int32 { eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK)) }
}
