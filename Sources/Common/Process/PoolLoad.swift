/// Decides when a dynamic pool grows or shrinks, from how many of its workers are busy at each tick.
struct PoolLoad: Equatable {
    /// One worker less after a quiet time this long, again and again.
    static let shrinkAfter: Nanoseconds = 10_000_000_000
    static let fastestGrowth = 16

    private var allBusySince: Nanoseconds?
    private var quietSince: Nanoseconds?
    /// Doubles while requests go on waiting, as php-fpm does: a burst is met in a few steps, a blip costs one worker.
    private var step = 1

    /// How many workers more (or fewer) the pool should have.
    mutating func change(spec: PoolSpec, wanted: Int, ready: Int, busy: Int, now: Nanoseconds) -> Int {
        guard spec.isDynamic, ready > 0 else { return 0 }
        quietSince = busy * 2 < ready ? quietSince ?? now : nil
        guard busy == ready else {
            allBusySince = nil
            step = 1
            return shrink(spec: spec, wanted: wanted, now: now)
        }
        let since = allBusySince ?? now
        allBusySince = since
        guard now - since >= spec.growAfter.nanoseconds, ready >= wanted else { return 0 }
        let growth = min(step, spec.maxWorkers - wanted)
        allBusySince = now
        step = min(step * 2, PoolLoad.fastestGrowth)
        return max(0, growth)
    }

    private mutating func shrink(spec: PoolSpec, wanted: Int, now: Nanoseconds) -> Int {
        guard let since = quietSince, now - since >= PoolLoad.shrinkAfter, wanted > spec.workers else {
            return 0
        }
        quietSince = now
        return -1
    }
}
