import Glibc
import Synchronization

/// Holds threads back until it is opened.
final class Gate: Sendable {
    private let isOpen = Atomic<Bool>(false)

    func wait() {
        while !isOpen.load(ordering: .acquiring) { usleep(1000) }
    }

    func open() {
        isOpen.store(true, ordering: .releasing)
    }
}
