/// The course of a run over time: one point per second, or per several seconds in a long run.
struct Series {
    struct Point {
        /// Nanoseconds after the start at which it ends.
        var at: Int64 = 0
        var seconds = 0.0
        var sent = 0, acknowledged = 0, copies = 0, uploads = 0
        var reconnects = 0, refused = 0, errors = 0
        var open = 0
        /// Microseconds.
        var ackHalf: Int64 = 0, ack99: Int64 = 0, ackMost: Int64 = 0, copyHalf: Int64 = 0, copy99: Int64 = 0
    }

    static let maxPoints = 600
    private(set) var points: [Point] = []
    /// The number of one-second points in one stored point.
    private var step = 1
    private var gathered: [Point] = []

    mutating func add(_ point: Point) {
        gathered.append(point)
        guard gathered.count == step else { return }
        points.append(Self.joined(gathered))
        gathered = []
        guard points.count == Self.maxPoints else { return }
        points = stride(from: 0, to: points.count, by: 2).map {
            Self.joined(Array(points[$0...min($0 + 1, points.count - 1)]))
        }
        step *= 2
    }

    mutating func finish() {
        if !gathered.isEmpty { points.append(Self.joined(gathered)) }
        gathered = []
    }

    /// Sums counts, and keeps the worst of percentiles and the mean of medians.
    private static func joined(_ parts: [Point]) -> Point {
        var sum = Point()
        for part in parts {
            sum.at = part.at
            sum.seconds += part.seconds
            sum.sent += part.sent
            sum.acknowledged += part.acknowledged
            sum.copies += part.copies
            sum.uploads += part.uploads
            sum.reconnects += part.reconnects
            sum.refused += part.refused
            sum.errors += part.errors
            sum.open = part.open
            sum.ackHalf += part.ackHalf / Int64(parts.count)
            sum.copyHalf += part.copyHalf / Int64(parts.count)
            sum.ack99 = max(sum.ack99, part.ack99)
            sum.ackMost = max(sum.ackMost, part.ackMost)
            sum.copy99 = max(sum.copy99, part.copy99)
        }
        return sum
    }
}
