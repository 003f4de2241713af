/// What will happen in the simulation, in the order of time: a binary heap of small entries. The payload of a message
/// stands elsewhere, so that moving entries stays cheap in a debug build.
struct SimQueue {
    struct Entry {
        /// Nanoseconds.
        var time: Int64
        /// Entries of the same time keep the order in which they were added, so that a seed repeats its run.
        var order: Int64
        var kind: Kind
        /// Which node, group or message; what it means depends on the kind.
        var subject: Int
        /// The incarnation of the process that waits for it, or a further detail.
        var detail: Int
    }

    enum Kind {
        case startProcess
        case crash
        case wake
        case message
        case raftTick
        case partition
        case heal
        case changeDiscovery
        case wipe
        case raftWipe
        case moveLeader
        case calm
    }

    private var heap: [Entry] = []
    private var added: Int64 = 0

    var isEmpty: Bool { heap.isEmpty }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        let a = heap[left].time
        let b = heap[right].time
        return a != b ? a < b : heap[left].order < heap[right].order
    }

    mutating func add(_ time: Int64, _ kind: Kind, _ subject: Int, _ detail: Int = 0) {
        added += 1
        heap.append(Entry(time: time, order: added, kind: kind, subject: subject, detail: detail))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if !isBefore(child, parent) { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> Entry? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var child = 2 * parent + 1
                if child >= heap.count { break }
                if child + 1 < heap.count, isBefore(child + 1, child) { child += 1 }
                if !isBefore(child, parent) { break }
                heap.swapAt(child, parent)
                parent = child
            }
        }
        return first
    }
}
