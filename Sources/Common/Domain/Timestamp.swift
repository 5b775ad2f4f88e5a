/// Writes Unix milliseconds as RFC 3339 UTC with milliseconds: `2026-11-22T21:30:23.123Z`.
///
/// By hand (days-to-civil, as Howard Hinnant published it): it runs for every message of every page.
public func appendTimestamp(_ unixMilliseconds: Int64, to bytes: inout [UInt8]) {
    var milliseconds = unixMilliseconds % 1000
    var seconds = unixMilliseconds / 1000
    if milliseconds < 0 {
        milliseconds += 1000
        seconds -= 1
    }
    var days = seconds / 86_400
    var second = seconds % 86_400
    if second < 0 {
        second += 86_400
        days -= 1
    }
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func put(_ value: Int64, _ digits: Int, _ after: UInt8) {
        var divisor: Int64 = 1
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
        bytes.append(after)
    }
    put(year, 4, UInt8(ascii: "-"))
    put(month, 2, UInt8(ascii: "-"))
    put(day, 2, UInt8(ascii: "T"))
    put(second / 3600, 2, UInt8(ascii: ":"))
    put(second / 60 % 60, 2, UInt8(ascii: ":"))
    put(second % 60, 2, UInt8(ascii: "."))
    put(milliseconds, 3, UInt8(ascii: "Z"))
}
