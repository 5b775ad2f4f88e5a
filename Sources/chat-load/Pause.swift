import ChatCore
import Glibc

/// The time before another attempt. A server may ask for any time; only this type limits it.
enum Pause {
    /// Milliseconds. Without a least pause, a server that asks for none would be asked without end.
    static let range: ClosedRange<Int64> = 50...60_000

    /// A `RetryAfter` of a frame or of an answer by REST.
    ///
    /// - Returns: milliseconds; nil when the server asks for no pause. One that cannot be read counts as a second.
    static func asked(_ value: WireValue?) -> Int64? {
        switch value {
        case nil, .null?: nil
        case .int(let wait)?: bounded(wait)
        case .double(let wait)? where wait >= Double(range.upperBound): range.upperBound
        case .double(let wait)? where wait <= Double(range.lowerBound): range.lowerBound
        case .double(let wait)? where wait.isFinite: Int64(wait)
        default: 1000
        }
    }

    /// The header `Retry-After`, in seconds.
    static func asked(seconds: Int?) -> Int64? { seconds.map { bounded(Int64(min(max($0, 0), 3600)) * 1000) } }

    static func bounded(_ wait: Int64) -> Int64 { min(max(wait, range.lowerBound), range.upperBound) }

    static func sleep(milliseconds: Int64) { usleep(UInt32(bounded(milliseconds)) * 1000) }
}
