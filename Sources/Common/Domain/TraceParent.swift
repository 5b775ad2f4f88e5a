/// W3C Trace Context, version 00: the id of a command (and of the message that it makes) is the id of its trace, so that
/// every program and every server behind it names it alike.
public struct TraceParent: Sendable, Equatable, CustomStringConvertible {
    public let trace: UUID128
    public let span: UInt64

    /// The span of everything that we do for a command: derived, so that it need not be kept.
    public init(of command: UUID128) {
        trace = command
        span = command.low | 1
    }

    public var description: String {
        let hex = String(span, radix: 16)
        return "00-\(trace.description.filter { $0 != "-" })-\(String(repeating: "0", count: 16 - hex.count))\(hex)-01"
    }
}
