/// Commands that one socket may send: `rate` a second, `burst` at once. Eight bytes a connection.
struct RateBucket: BitwiseCopyable {
    struct Limits: Sendable {
        var rate: Float
        var burst: Float
    }

    enum Verdict {
        case pass
        /// Over the limit: refused, not counted against later ones.
        case refuse
        /// The client goes on sending although it is refused: it is not listening.
        case close
    }

    /// What a request that was let through asks for more than one: refused when it goes over the burst, unless nothing else
    /// was asked lately. It is counted as far as the bucket goes.
    mutating func takeMore(_ cost: Int, limits: Limits) -> Bool {
        let sum = level + Float(cost)
        guard sum <= limits.burst || level <= 1.5 else { return false }
        level = min(sum, max(limits.burst, 1))
        return true
    }

    private var level: Float = 0
    private var at: UInt32 = 0

    /// `now` is in milliseconds and may wrap.
    mutating func take(now: UInt32, limits: Limits) -> Verdict {
        level = max(0, level - Float(now &- at) * limits.rate / 1000)
        at = now
        level += 1
        if level <= limits.burst { return .pass }
        return level <= limits.burst * 2 + 10 ? .refuse : .close
    }
}
