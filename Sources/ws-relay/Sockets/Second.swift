/// A second of the monotonic clock, in four bytes of every connection. The count wraps after 136 years of the machine's
/// life, so two seconds are compared by their distance, which is never more than half of that.
extension UInt32 {
    /// A limit of some seconds, for such a clock.
    init(seconds limit: Duration) { self.init(clamping: limit.components.seconds) }

    func hasPassed(at now: UInt32) -> Bool { now &- self < UInt32.max / 2 }
}
