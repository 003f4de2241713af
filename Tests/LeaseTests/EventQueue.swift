/// Events in the order of their time, and of their addition within one time.
///
/// A heap of small keys; the events themselves stay where they are.
struct EventQueue {
    /// Not a parameter of the type: it would not be specialised across files in a debug build.
    typealias Event = LeaseSimulation.Event

    private struct Key {
        var time: Int64
        var order: UInt32
        var slot: UInt32

        func isBefore(_ other: Key) -> Bool {
            time != other.time ? time < other.time : order < other.order
        }
    }

    private var heap: [Key] = []
    private var events: [Event] = []
    private var free: [UInt32] = []
    private var added: UInt32 = 0

    init() {
        heap.reserveCapacity(256)
        events.reserveCapacity(256)
        free.reserveCapacity(256)
    }

    mutating func add(_ time: Int64, _ event: Event) {
        added += 1
        let slot: UInt32
        if let used = free.popLast() {
            slot = used
            events[Int(used)] = event
        } else {
            slot = UInt32(events.count)
            events.append(event)
        }
        let key = Key(time: time, order: added, slot: slot)
        heap.append(key)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard key.isBefore(heap[parent]) else { break }
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = key
    }

    mutating func next() -> (Int64, Event)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty {
            var parent = 0
            while true {
                var child = 2 * parent + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
                guard heap[child].isBefore(last) else { break }
                heap[parent] = heap[child]
                parent = child
            }
            heap[parent] = last
        }
        free.append(first.slot)
        return (first.time, events[Int(first.slot)])
    }
}
