/// W3C Trace Context, version 00. A command's id (and so its message's id) is the trace id, so every program and server
/// along the way uses the same one.
public struct TraceParent: Sendable, Equatable, CustomStringConvertible {
    public let trace: UUID128
    public let span: UInt64

    /// The span of all our work for a command: derived from its id, so that it need not be stored.
    public init(of command: UUID128) {
        trace = command
        span = command.low | 1
    }

    public var description: String {
        let hex = String(span, radix: 16)
        return "00-\(trace.description.filter { $0 != "-" })-\(String(repeating: "0", count: 16 - hex.count))\(hex)-01"
    }
}
