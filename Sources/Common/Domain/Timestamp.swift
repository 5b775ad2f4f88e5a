/// Bytes of `2026-11-22T21:30:23.123Z`, for years of four digits.
let timestampLength = 24

/// Unix milliseconds of the times that RFC 3339 can express: years of four digits.
public let writableTimes: ClosedRange<Int64> = -62_167_219_200_000...253_402_300_799_999
/// Times that clients may send: from 1970 on.
public let acceptedTimes: ClosedRange<Int64> = 0...writableTimes.upperBound

/// Appends Unix milliseconds as RFC 3339 UTC with milliseconds: `2026-11-22T21:30:23.123Z`.
public func appendTimestamp(_ unixMilliseconds: Int64, to bytes: inout [UInt8]) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: timestampLength) { text in
        writeTimestamp(unixMilliseconds, to: text.baseAddress!)
        bytes.append(contentsOf: text)
    }
}

/// Writes the ``timestampLength`` bytes of ``appendTimestamp(_:to:)``.
///
/// Hand-written (days-to-civil, as published by Howard Hinnant), because it runs for every message of every page. Times
/// outside ``writableTimes`` are clamped to the nearest one.
func writeTimestamp(_ time: Int64, to place: UnsafeMutablePointer<UInt8>) {
    let unixMilliseconds = min(max(time, writableTimes.lowerBound), writableTimes.upperBound)
    let (seconds, milliseconds) = dividedDown(unixMilliseconds, by: 1000)
    let (days, second) = dividedDown(seconds, by: 86_400)
    let (era, dayOfEra) = dividedDown(days + 719_468, by: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func put(_ value: Int64, at first: Int, _ digits: Int, _ after: UInt8) {
        var rest = UInt64(truncatingIfNeeded: value)
        for at in (first..<first + digits).reversed() {
            place[at] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        place[first + digits] = after
    }
    put(year, at: 0, 4, UInt8(ascii: "-"))
    put(month, at: 5, 2, UInt8(ascii: "-"))
    put(day, at: 8, 2, UInt8(ascii: "T"))
    put(second / 3600, at: 11, 2, UInt8(ascii: ":"))
    put(second / 60 % 60, at: 14, 2, UInt8(ascii: ":"))
    put(second % 60, at: 17, 2, UInt8(ascii: "."))
    put(milliseconds, at: 20, 3, UInt8(ascii: "Z"))
}

/// Division that rounds down, so that the remainder is never negative.
private func dividedDown(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}

public func timestampText(_ unixMilliseconds: Int64) -> String {
    var bytes: [UInt8] = []
    appendTimestamp(unixMilliseconds, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
}

/// Reads RFC 3339 as clients write it, such as `2026-11-22T21:30:23Z` or `2026-11-22T22:30:23.5+01:00`. Nil for other
/// text and for times outside ``acceptedTimes`` in UTC. Fractions are cut to milliseconds.
public func parseTimestamp(_ text: String) -> Int64? {
    var reader = TimestampReader(rest: Array(text.utf8)[...])
    guard let year = reader.number(4, in: 1970...9999), reader.skip("-") != nil,
        let month = reader.number(2, in: 1...12), reader.skip("-") != nil,
        let day = reader.number(2, in: 1...daysOf(month, year)), reader.skip("Tt ") != nil,
        let hour = reader.number(2, in: 0...23), reader.skip(":") != nil,
        let minute = reader.number(2, in: 0...59), reader.skip(":") != nil,
        let second = reader.number(2, in: 0...59), let milliseconds = reader.fraction(), let offset = reader.zone(),
        reader.rest.isEmpty
    else { return nil }
    let seconds = daysSince1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
    let time = seconds * 1000 + milliseconds - offset
    return acceptedTimes.contains(time) ? time : nil
}

private struct TimestampReader {
    var rest: ArraySlice<UInt8>

    mutating func number(_ digits: Int, in range: ClosedRange<Int64>) -> Int64? {
        guard rest.count >= digits else { return nil }
        var value: Int64 = 0
        for byte in rest.prefix(digits) {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        rest = rest.dropFirst(digits)
        return range.contains(value) ? value : nil
    }

    mutating func skip(_ allowed: StaticString) -> UInt8? {
        let found = rest.first.flatMap { byte in
            UnsafeBufferPointer(start: allowed.utf8Start, count: allowed.utf8CodeUnitCount).contains(byte) ? byte : nil
        }
        if found != nil { rest = rest.dropFirst() }
        return found
    }

    /// Milliseconds; 0 without a fraction, nil for a dot without digits.
    mutating func fraction() -> Int64? {
        guard skip(".") != nil else { return 0 }
        var weight: Int64 = 100
        guard let first = number(1, in: 0...9) else { return nil }
        var milliseconds = first * weight
        while let digit = number(1, in: 0...9) {
            weight /= 10
            milliseconds += digit * weight
        }
        return milliseconds
    }

    /// Milliseconds that the zone's clocks are ahead of UTC.
    mutating func zone() -> Int64? {
        guard let sign = skip("Zz+-") else { return nil }
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") else { return 0 }
        guard let hours = number(2, in: 0...23), skip(":") != nil, let minutes = number(2, in: 0...59) else {
            return nil
        }
        return (hours * 60 + minutes) * (sign == UInt8(ascii: "+") ? 60_000 : -60_000)
    }
}

private func daysOf(_ month: Int64, _ year: Int64) -> Int64 {
    guard month == 2 else { return [4, 6, 9, 11].contains(month) ? 30 : 31 }
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
}

/// Civil-to-days, as published by Howard Hinnant; years from 1970 on.
private func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}
