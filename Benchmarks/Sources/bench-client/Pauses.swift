import Glibc

/// Reads the clock in a loop and counts the time for which it could not: the machine's own pauses, which limit every
/// latency measured here.
func watchPauses(seconds: Int) {
    let shortest: Int64 = 1_000_000
    let start = monotonic()
    var (last, count, sum, longest) = (start, 0, Int64(0), Int64(0))
    while last < start + Int64(seconds) * 1_000_000_000 {
        let now = monotonic()
        if now - last >= shortest {
            count += 1
            sum += now - last
            longest = max(longest, now - last)
        }
        last = now
    }
    print("count \(count)")
    print("sum_us \(sum / 1000)")
    print("longest_us \(longest / 1000)")
}
