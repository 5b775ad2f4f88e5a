import ChatCore

/// The time of this tick: the clocks are read once, so that all owners see the same moment.
final class TickClock {
    /// Of the monotonic clock.
    private(set) var milliseconds: Int64 = 0
    private(set) var unixMilliseconds: Int64 = 0
    /// The second of the monotonic clock, as it stands in every connection.
    private(set) var second: UInt32 = 0

    var unixSeconds: Int64 { unixMilliseconds / 1000 }

    func begin(milliseconds: Int64, unixMilliseconds: Int64) {
        self.milliseconds = milliseconds
        self.unixMilliseconds = unixMilliseconds
        second = UInt32(truncatingIfNeeded: milliseconds / 1000)
    }

    /// An id of this moment.
    func newID() -> UUID128 { UUID128.v7(at: unixMilliseconds) }
}
