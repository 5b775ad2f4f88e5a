/// A finished piece of work in a trace. It contains our own names, numbers and ids: no text, token or header of a user.
public struct Span: Sendable, Equatable {
    /// The numbers of OpenTelemetry's protocol.
    public enum Kind: Int64, Sendable { case inside = 1, server, client, producer, consumer }

    public enum Value: Sendable, Equatable {
        case text(String)
        case number(Int64)
    }

    public struct Attribute: Sendable, Equatable {
        public let name: String
        public let value: Value

        public init(_ name: String, _ value: Value) { (self.name, self.value) = (name, value) }
    }

    public var trace: UUID128
    public var id: UInt64
    /// nil: it is the first span of the trace.
    public var parent: UInt64?
    /// The parent belongs to another process.
    public var isParentRemote: Bool
    public var name: String
    public var kind: Kind
    /// Unix nanoseconds.
    public var start: Int64
    public var end: Int64
    public var attributes: [Attribute]
    /// The failure is ours, not the requester's.
    public var hasFailed: Bool

    public init(
        trace: UUID128, id: UInt64 = Span.newID(), parent: UInt64?, isParentRemote: Bool = false, name: String,
        kind: Kind, start: Int64, end: Int64, attributes: [Attribute] = [], hasFailed: Bool = false
    ) {
        self.trace = trace
        self.id = id
        self.parent = parent
        self.isParentRemote = isParentRemote
        self.name = name
        self.kind = kind
        // A clock may have been set back between the two.
        self.start = max(0, min(start, end))
        self.end = max(0, end)
        self.attributes = attributes
        self.hasFailed = hasFailed
    }

    public static func newID() -> UInt64 { UInt64.random(in: 1...UInt64.max) }
}

/// The destination of finished spans. It never blocks, and drops spans that it cannot take.
public protocol SpanOutlet: Sendable {
    func put(_ spans: [Span])
}

/// A process's tracing: which traces are recorded, and where their spans go.
public struct Tracer: Sendable {
    public let sampler: TraceSampler
    public let outlet: any SpanOutlet

    public init(_ sampler: TraceSampler, _ outlet: any SpanOutlet) {
        (self.sampler, self.outlet) = (sampler, outlet)
    }
}
