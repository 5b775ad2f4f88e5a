/// Limits the commands of one socket: `rate` per second, `burst` at once. Eight bytes per connection.
struct RateBucket: BitwiseCopyable {
    struct BucketLimits: Sendable {
        var rate: Float
        var burst: Float
    }

    enum Decision {
        case pass
        /// Over the limit: refused, and not counted.
        case refuse
        /// The client keeps sending although it is refused: it ignores the refusals.
        case close
    }

    /// Charges the further cost of an admitted request: refused above the burst, unless the bucket was nearly empty.
    /// The level never exceeds the bucket.
    mutating func takeMore(_ cost: Int, limits: BucketLimits) -> Bool {
        let sum = level + Float(cost)
        guard sum <= limits.burst || level <= 1.5 else { return false }
        level = min(sum, max(limits.burst, 1))
        return true
    }

    private var level: Float = 0
    private var at: UInt32 = 0

    /// `now` is in milliseconds and may wrap.
    mutating func take(now: UInt32, limits: BucketLimits) -> Decision {
        level = max(0, level - Float(now &- at) * limits.rate / 1000)
        at = now
        level += 1
        if level <= limits.burst { return .pass }
        return level <= limits.burst * 2 + 10 ? .refuse : .close
    }
}
