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

/// For how long something took.
public func monotonicNanoseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

/// Milliseconds of a clock that never jumps; for time limits.
public func monotonicMilliseconds() -> Int64 { monotonicNanoseconds() / 1_000_000 }

extension Duration {
    public var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }

    /// Whole ones, as many as are over.
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }
    public var seconds: Int64 { components.seconds }
    public var days: Int64 { components.seconds / 86_400 }

    public static func days(_ days: Int) -> Duration { .seconds(86_400 * days) }

    /// Nil for a time of zero, where that means that there is no limit.
    public var unlessZero: Duration? { self == .zero ? nil : self }
}
