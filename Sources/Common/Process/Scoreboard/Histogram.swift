import Synchronization

/// Durations in buckets, stored in the scoreboard. Adding one costs two additions to shared memory, and several threads
/// may do it.
public struct Histogram: @unchecked Sendable {
    /// Upper bounds; one more bucket counts longer durations.
    public static let bounds: [Nanoseconds] = [
        500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000,
        500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
    ]
    /// The buckets, then the sum of all durations.
    static let words = bounds.count + 2
    /// Longer durations are cut: a clock that jumped must not spoil the sum for ever.
    private static let longest: Nanoseconds = 86_400_000_000_000

    let board: Scoreboard
    let offset: Int

    public func observe(_ duration: Nanoseconds) {
        let duration = min(max(0, duration), Histogram.longest)
        let bucket = Histogram.bounds.firstIndex { duration <= $0 } ?? Histogram.bounds.count
        board.addWord(at: offset + bucket * 8, 1)
        board.addWord(at: offset + (Histogram.words - 1) * 8, duration)
    }

    /// The count of each bucket, then the sum.
    public var numbers: [Int] { (0..<Histogram.words).map { Int(board.word(at: offset + $0 * 8)) } }

    func clear() { for word in 0..<Histogram.words { board.setWord(at: offset + word * 8, to: 0) } }

    func absorb(_ other: Histogram) {
        for word in 0..<Histogram.words {
            board.addWord(at: offset + word * 8, other.board.word(at: other.offset + word * 8))
        }
    }
}
