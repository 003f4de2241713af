import Dqlite
import Platform
import Testing

@testable import Cluster

@Suite("How far the log is committed")
struct StoredMarkTests {
    private let mark = StoredMark(dqliteID: 7, index: 100, term: 5)

    @Test("it survives being written and read, and what is none is ignored")
    func coding() {
        #expect(StoredMark(mark.bytes) == mark)
        for text in ["", "7 100", "7 100 5 6", "7 -1 5", "a b c"] {
            #expect(StoredMark(Array(text.utf8)) == nil, "\(text)")
        }
    }

    @Test("it never goes back, never beyond what is on disk, and starts anew with another id")
    func next() {
        #expect(
            StoredMark.next(after: mark, dqliteID: 7, committed: 120, stored: 110, term: 5)
                == StoredMark(dqliteID: 7, index: 110, term: 5))
        #expect(StoredMark.next(after: mark, dqliteID: 7, committed: 90, stored: 200, term: 4) == nil)
        #expect(
            StoredMark.next(after: mark, dqliteID: 7, committed: nil, stored: 130, term: 6)
                == StoredMark(dqliteID: 7, index: 130, term: 6))
        #expect(
            StoredMark.next(after: mark, dqliteID: 8, committed: 3, stored: 9, term: 2)
                == StoredMark(dqliteID: 8, index: 3, term: 2))
        #expect(StoredMark.next(after: nil, dqliteID: 7, committed: 0, stored: 9, term: 2) == nil)
    }
}

@Suite("The disk of a leader")
struct DiskStateTests {
    private func state(_ steps: FileSystemSpace...) -> DiskState {
        var state = DiskState()
        for step in steps { state.see(.success(step), path: "/d") }
        return state
    }

    @Test("it is low below 24 MiB, full below 9, and sound again from 32 on")
    func levels() {
        #expect(state(.init(free: 25 << 20)).level == .sound)
        #expect(state(.init(free: 24 << 20 - 1)).level == .low)
        #expect(state(.init(free: 9 << 20 - 1)).level == .full)
        #expect(state(.init(free: 20 << 20), .init(free: 30 << 20)).level == .low)
        #expect(state(.init(free: 1 << 20), .init(free: 10 << 20)).level == .low)
        #expect(state(.init(free: 20 << 20), .init(free: 32 << 20)).level == .sound)
        #expect(state(.init(free: 20 << 20), .init(free: 32 << 20)).reason == nil)
        #expect(state(.init(free: 20 << 20)).reason == "the file system of /d has 20 MiB left: free 32 MiB there")
    }

    @Test("read-only, without room for files, and without an answer are reasons too, each with its remedy")
    func others() {
        #expect(state(.init(free: 1 << 40, isReadOnly: true)).level == .full)
        #expect(state(.init(free: 1 << 40, isReadOnly: true)).reason?.contains("read-only") == true)
        #expect(state(.init(free: 1 << 40, hasNoFiles: true)).level == .full)
        var state = DiskState()
        state.see(.failure(SystemError("ask", "/d", errno: 5)), path: "/d")
        #expect(state.level == .low && state.reason?.contains("Input/output error") == true)
        state.see(.success(.init(free: 1 << 40)), path: "/d")
        #expect(state.level == .sound)
    }
}
