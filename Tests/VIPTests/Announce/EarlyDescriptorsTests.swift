import CLinux
import Glibc
import Testing

@testable import VIP

@Suite("Early descriptors") struct EarlyDescriptorsTests {
    private func open(_ value: UInt32) -> Int32 { eventfd(value, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK)) }

    private func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

    private func value(of descriptor: Int32) -> UInt64? {
        var value: UInt64 = 0
        return read(descriptor, &value, 8) == 8 ? value : nil
    }

    @Test("an open file gets a number that was taken before, and the number is there again when it is closed")
    func reused() throws {
        let early = EarlyDescriptors(1)
        let later = open(0)
        defer { close(later) }
        for turn in UInt32(1)...3 {
            let descriptor = open(turn)
            let number = early.take(in: descriptor)
            #expect(number < later && later < descriptor)
            #expect(value(of: number) == UInt64(turn))
            #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
            early.close(number)
            #expect(isOpen(number), "or anybody's next descriptor would get the number")
            #expect(value(of: number) == nil)
        }
    }

    @Test("with no number left a file keeps its own")
    func exhausted() {
        let early = EarlyDescriptors(1)
        let (first, second) = (open(1), open(2))
        let number = early.take(in: first)
        #expect(early.take(in: second) == second)
        #expect(value(of: second) == 2)
        close(second)
        early.close(number)
    }
}
