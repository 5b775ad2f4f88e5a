import ChatCore
import ChatProcess

/// The end of a wait, on the monotonic clock.
struct Deadline {
    private let end: Int64

    init(in limit: Duration) { end = monotonicMilliseconds() + limit.milliseconds }

    var isOver: Bool { monotonicMilliseconds() >= end }
}
