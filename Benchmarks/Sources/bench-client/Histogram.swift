/// Latencies in microseconds: exact below 4 ms, to one part in 2,048 above.
struct Histogram {
    private static let exactBits = 12
    private var counts = [UInt32](repeating: 0, count: 4096 + 2048 * 24)
    private(set) var count = 0

    mutating func add(nanoseconds: Int64) {
        counts[Self.place(of: max(0, nanoseconds / 1000))] += 1
        count += 1
    }

    /// The smallest latency that a `share` of all values does not exceed.
    func quantile(_ share: Double) -> Int64 {
        let wanted = max(1, Int((Double(count) * share).rounded(.up)))
        var seen = 0
        for (place, number) in counts.enumerated() where number > 0 {
            seen += Int(number)
            if seen >= wanted { return Self.value(at: place) }
        }
        return 0
    }

    private static func place(of value: Int64) -> Int {
        let bits = 64 - value.leadingZeroBitCount
        guard bits > exactBits else { return Int(value) }
        let shift = min(bits - exactBits, 24)
        return 4096 + (shift - 1) * 2048 + min(Int(value >> shift) - 2048, 2047)
    }

    private static func value(at place: Int) -> Int64 {
        guard place >= 4096 else { return Int64(place) }
        let (shift, rest) = (place - 4096).quotientAndRemainder(dividingBy: 2048)
        return Int64(rest + 2048) << Int64(shift + 1)
    }
}
