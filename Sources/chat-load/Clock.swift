import Glibc

/// Nanoseconds of a clock that never jumps.
func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

/// User and system time of this process, in nanoseconds.
func ownCPU() -> Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

/// Nanoseconds since 1970.
func wallClock() -> Int64 { read(CLOCK_REALTIME) }

private func read(_ clock: clockid_t) -> Int64 {
    var now = timespec()
    clock_gettime(clock, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

let second: Int64 = 1_000_000_000
let millisecond: Int64 = 1_000_000

/// A text for people: `2026-11-29 14:03:12 UTC`.
func date(_ nanoseconds: Int64) -> String {
    var seconds = time_t(nanoseconds / second)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
        + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) UTC"
}

/// A reproducible source of numbers (SplitMix64): the same seed gives the same choices.
struct Chance: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
