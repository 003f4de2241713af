import Platform
import Testing

@testable import Cluster

/// Instants in milliseconds.
private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

@Suite("What was promised before this start")
struct EarlierPromisesTests {
    private static func promises(earlier: Int64? = 180, isNew: Bool = false) -> EarlierPromises {
        EarlierPromises(
            hold: .milliseconds(180), earlier: earlier.map { .milliseconds($0) }, openedAt: at(1000), isNew: isNew)
    }

    @Test("nobody promised anything under an id of a directory that is new: its votes leave at once")
    func new() {
        let promises = Self.promises(earlier: nil, isNew: true)
        #expect(promises.over(isFirst: true, now: at(1100)) == nil)
        #expect(promises.longer == nil)
    }

    @Test("what an earlier process promised is over a promise's time after its end, however long the start takes")
    func restarted() {
        #expect(Self.promises().over(isFirst: true, now: at(1050)) == at(1180))
        #expect(Self.promises().over(isFirst: true, now: at(1180)) == nil)
        // A version that did not note its own had the same, as far as anybody knows.
        #expect(Self.promises(earlier: nil).over(isFirst: true, now: at(1050)) == at(1180))
    }

    @Test(
        "the second local node of a process follows one that promised until just now, also in a directory that is new")
    func second() {
        #expect(Self.promises(isNew: true).over(isFirst: false, now: at(9000)) == at(9180))
        #expect(Self.promises().over(isFirst: false, now: at(1050)) == at(1230))
    }

    @Test("a longer time of the earlier process binds for so long after its end; a shorter one changes nothing")
    func otherTiming() {
        #expect(Self.promises(earlier: 750).longer == at(1750))
        #expect(Self.promises(earlier: 750).over(isFirst: true, now: at(1050)) == at(1750))
        #expect(Self.promises(earlier: 750).over(isFirst: false, now: at(1050)) == at(1750))
        #expect(Self.promises(earlier: 60).longer == nil)
        #expect(Self.promises(earlier: 60).over(isFirst: true, now: at(1050)) == at(1180))
    }
}
