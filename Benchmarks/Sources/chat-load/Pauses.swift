import Glibc

/// Does nothing but look at the clock, and counts for how long it could not: what the machine itself takes away, which no
/// latency that is measured here can be better than.
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
