import ChatCore

/// Decides when a dynamic pool grows or shrinks, from the number of busy workers at each tick.
struct PoolLoad: Equatable {
    static let fastestGrowth = 16

    private var allBusySince: Nanoseconds?
    private var quietSince: Nanoseconds?
    /// Doubles while requests keep waiting, as in php-fpm: a burst is met in a few steps, a blip costs one worker.
    private var step = 1

    /// Returns the number of workers to add, or to remove when negative.
    mutating func change(spec: PoolSpec, wanted: Int, ready: Int, busy: Int, now: Nanoseconds) -> Int {
        guard spec.isDynamic, ready > 0 else { return 0 }
        let idle = ready - busy
        let isQuiet = spec.maxSpare > 0 ? idle > spec.maxSpare : busy * 2 < ready
        quietSince = isQuiet ? quietSince ?? now : nil
        guard idle < max(1, spec.minSpare) else {
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
        guard let since = quietSince, now - since >= spec.shrinkAfter.nanoseconds, wanted > spec.workers else {
            return 0
        }
        quietSince = now
        return -1
    }
}
