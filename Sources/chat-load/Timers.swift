/// Events of later times, the earliest first: a binary heap, since a server that refuses everything makes a timer for
/// each message.
struct Timers<Event> {
    private var heap: [(at: Int64, event: Event)] = []

    /// The time of the next one.
    var next: Int64? { heap.first?.at }
    var count: Int { heap.count }

    mutating func add(at time: Int64, _ event: Event) {
        heap.append((time, event))
        var place = heap.count - 1
        while place > 0, heap[place].at < heap[(place - 1) / 2].at {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// Removes and returns the earliest event if it is due.
    mutating func take(until now: Int64) -> Event? {
        guard let first = heap.first, first.at <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var place = 0
        while true {
            let children = (2 * place + 1..<2 * place + 3).filter { $0 < heap.count }
            guard let child = children.min(by: { heap[$0].at < heap[$1].at }), heap[child].at < heap[place].at else {
                return first.event
            }
            heap.swapAt(place, child)
            place = child
        }
    }
}
