import ChatCore

/// The checked settings of a run.
struct LoadOptions {
    var users = 20
    var rooms = 4
    var members = 10
    /// Messages a second, over all rooms.
    var rate = 50.0
    /// Nanoseconds.
    var duration = 60 * second
    var ramp = 5 * second
    var size = 100...100
    /// Files a second.
    var uploads = 0.0
    var uploadSize = 10_000
    /// Sockets a second that close and come back.
    var churn = 0.0
    var seed: UInt64 = 1
    var patience = 15 * second
    var inFlight = 1_000_000
    var checksHistory = false
    var keeps = false
    var isQuiet = false
    var json: String?
    var html: String?

    /// Nanoseconds after which nothing is due: 73 years. A time of the clock may be added to it.
    static let never: Int64 = 1 << 61

    /// When a message is due after the start: the rate grows evenly during the ramp.
    ///
    /// - Returns: at most ``never``, also for a rate of 0.
    func due(_ number: Int, rate: Double) -> Int64 {
        guard rate > 0 else { return Self.never }
        let ramp = Double(min(self.ramp, duration)) / 1e9
        let inRamp = rate * ramp / 2
        let number = Double(number)
        let seconds = number < inRamp ? (2 * number * ramp / rate).squareRoot() : ramp / 2 + number / rate
        // This is also false for NaN.
        guard seconds * 1e9 < Double(Self.never) else { return Self.never }
        return Int64(seconds * 1e9)
    }

    /// `60`, `60s`, `5m`, `2h`, `500ms`: nanoseconds.
    static func time(_ text: String) -> Int64? {
        let units: [(String, Double)] = [("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)]
        for (unit, factor) in units where text.utf8.count > unit.utf8.count && text.hasSuffix(unit) {
            guard let value = amount(String(text.dropLast(unit.count))), value * factor <= 7 * 86_400e9 else {
                return nil
            }
            return Int64(value * factor)
        }
        guard let value = amount(text), value <= 7 * 86_400 else { return nil }
        return Int64(value * 1e9)
    }

    /// `100` or `50/s`: a number that is not negative.
    static func rate(_ text: String) -> Double? {
        amount(text.hasSuffix("/s") ? String(text.dropLast(2)) : text).flatMap { $0 <= 1_000_000 ? $0 : nil }
    }

    /// `100` or `50-2000`: bytes.
    static func size(_ text: String) -> ClosedRange<Int>? {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            .map { whole(String(decoding: $0, as: UTF8.self)) }
        switch parts.count {
        case 1: return parts[0].map { $0...$0 }
        case 2:
            guard let low = parts[0], let high = parts[1], low <= high else { return nil }
            return low...high
        default: return nil
        }
    }

    /// Only digits: `Int` would accept a sign too.
    private static func whole(_ text: String) -> Int? {
        text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
    }

    private static func amount(_ text: String) -> Double? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) || $0 == 46 }), let value = Double(text)
        else { return nil }
        return value
    }
}
