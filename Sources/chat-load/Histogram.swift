/// Latencies as in HdrHistogram: microseconds, exact below 4 ms, to one part in 2,048 above.
struct Histogram {
    private static let exactBits = 12
    private var counts = [Int](repeating: 0, count: 4096 + 2048 * 24)
    private(set) var count = 0

    mutating func add(nanoseconds: Int64) {
        counts[Self.place(of: max(0, nanoseconds / 1000))] += 1
        count += 1
    }

    /// Empties it; cheaper than another one.
    mutating func reset() {
        guard count > 0 else { return }
        counts.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
        count = 0
    }

    /// The smallest latency that a `share` of all values does not exceed, in microseconds; 0 when there is none.
    func quantile(_ share: Double) -> Int64 { quantiles([share])[0] }

    /// - Parameter shares: rising.
    func quantiles(_ shares: [Double]) -> [Int64] {
        var found = [Int64](repeating: 0, count: shares.count)
        guard count > 0 else { return found }
        var (next, seen) = (0, 0)
        for (place, number) in counts.enumerated() where number > 0 {
            seen += number
            while next < shares.count, seen >= max(1, Int((Double(count) * shares[next]).rounded(.up))) {
                found[next] = Self.value(at: place)
                next += 1
            }
            if next == shares.count { break }
        }
        return found
    }

    struct Row {
        let share: Double
        let microseconds: Int64
        let total: Int
    }

    /// The percentile table of HdrHistogram: each step halves what is left, with five rows in each half.
    func table() -> [Row] {
        guard count > 0 else { return [] }
        var shares: [Double] = []
        var (low, left) = (0.0, 1.0)
        // The table ends when less than one value is left.
        while left * Double(count) >= 1, shares.count < 120 {
            for step in 0..<5 { shares.append(low + left / 2 * Double(step) / 5) }
            low += left / 2
            left /= 2
        }
        shares.append(1)
        return zip(shares, quantiles(shares)).map { share, value in
            Row(share: share, microseconds: value, total: min(count, Int((Double(count) * share).rounded(.up))))
        }
    }

    static func place(of value: Int64) -> Int {
        let bits = 64 - value.leadingZeroBitCount
        guard bits > exactBits else { return Int(value) }
        let shift = min(bits - exactBits, 24)
        return 4096 + (shift - 1) * 2048 + Int(min(max(0, (value >> Int64(shift)) - 2048), 2047))
    }

    static func value(at place: Int) -> Int64 {
        guard place >= 4096 else { return Int64(place) }
        let (shift, rest) = (place - 4096).quotientAndRemainder(dividingBy: 2048)
        return Int64(rest + 2048) << Int64(shift + 1)
    }
}
