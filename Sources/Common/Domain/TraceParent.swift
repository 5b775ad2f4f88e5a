/// W3C Trace Context: a place in a trace, as `traceparent` names it. A command's id (and so its message's id) is the
/// trace id unless its request came with another, so every program and server on its path uses the same one.
public struct TraceParent: Sendable, Equatable, CustomStringConvertible {
    public let trace: UUID128
    /// Never 0.
    public let span: UInt64
    /// Whether the spans of this trace are recorded.
    public let isSampled: Bool

    public init(trace: UUID128, span: UInt64, isSampled: Bool) {
        (self.trace, self.span, self.isSampled) = (trace, span, isSampled)
    }

    /// The span of our first work for a command: derived from its id, so that it need not be stored.
    public init(of command: UUID128, isSampled: Bool = true) {
        self.init(trace: command, span: command.low | 1, isSampled: isSampled)
    }

    /// Reads a `traceparent` of any version except the forbidden one; nil when it is malformed by the standard.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        // A later version may have more fields, behind a hyphen.
        guard bytes.count == 55 || bytes.count > 55 && bytes[55] == UInt8(ascii: "-"),
            [2, 35, 52].allSatisfy({ bytes[$0] == UInt8(ascii: "-") }),
            let version = Self.number(bytes[0..<2]), version != 0xff, version != 0 || bytes.count == 55,
            let high = Self.number(bytes[3..<19]), let low = Self.number(bytes[19..<35]), high | low != 0,
            let span = Self.number(bytes[36..<52]), span != 0, let flags = Self.number(bytes[53..<55])
        else { return nil }
        self.init(trace: UUID128(high: high, low: low), span: span, isSampled: flags & 1 == 1)
    }

    /// Accepts only lower-case hexadecimal digits.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }

    public var description: String {
        let digits = String(span, radix: 16)
        let zeros = String(repeating: "0", count: 16 - digits.count)
        return "00-\(trace.description.filter { $0 != "-" })-\(zeros)\(digits)-0\(isSampled ? 1 : 0)"
    }
}
