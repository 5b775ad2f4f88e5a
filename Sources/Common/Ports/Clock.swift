import Glibc

/// Unix milliseconds. Passed as an argument wherever time matters, so that tests control it.
public typealias Clock = @Sendable () -> Int64

public let systemClock: Clock = {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
}

/// Unix nanoseconds, for spans of traces.
public func unixNanoseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

/// For measuring durations.
public func monotonicNanoseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

/// Milliseconds of a clock that never jumps; for time limits.
public func monotonicMilliseconds() -> Int64 { monotonicNanoseconds() / 1_000_000 }
