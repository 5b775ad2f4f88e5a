import ChatCore

/// Growing pauses between tries: 50 ms, doubling, at most half a second: a server that is back must not stay unnoticed for long.
struct Backoff {
    private static let first = 50
    private static let longest = Duration.milliseconds(500)
    private(set) var milliseconds = first

    mutating func next() -> Int {
        defer { milliseconds = min(milliseconds * 2, Int(Self.longest.milliseconds)) }
        return milliseconds
    }

    mutating func reset() { milliseconds = Self.first }
}
