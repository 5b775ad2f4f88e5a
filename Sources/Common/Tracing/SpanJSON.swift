/// The body of one request by OTLP/HTTP in its JSON form: `ExportTraceServiceRequest`. Ids are hexadecimal, 64-bit
/// numbers are texts.
public struct SpanJSON: Sendable {
    /// Attributes of the process that made the spans.
    let resource: [Span.Attribute]
    let scope: String
    let version: String

    public init(resource: [Span.Attribute], scope: String, version: String) {
        (self.resource, self.scope, self.version) = (resource, scope, version)
    }

    public func encode(_ spans: [Span]) -> [UInt8] {
        var writer = JSONWriter(reserving: 512 + spans.count * 640)
        writer.beginMap(1)
        writer.key("resourceSpans")
        writer.beginArray(1)
        writer.beginMap(2)
        writer.key("resource")
        writer.beginMap(1)
        Self.write(resource, to: &writer)
        writer.endMap()
        writer.key("scopeSpans")
        writer.beginArray(1)
        writer.beginMap(2)
        writer.key("scope")
        writer.beginMap(2)
        writer.key("name")
        writer.string(scope)
        writer.key("version")
        writer.string(version)
        writer.endMap()
        writer.key("spans")
        writer.beginArray(spans.count)
        for span in spans { Self.write(span, to: &writer) }
        writer.endArray()
        writer.endMap()
        writer.endArray()
        writer.endMap()
        writer.endArray()
        writer.endMap()
        return writer.take()
    }

    private static func write(_ span: Span, to writer: inout JSONWriter) {
        writer.beginMap(10)
        writer.key("traceId")
        writer.string(hex(span.trace.high) + hex(span.trace.low))
        writer.key("spanId")
        writer.string(hex(span.id))
        if let parent = span.parent {
            writer.key("parentSpanId")
            writer.string(hex(parent))
        }
        writer.key("flags")
        // Sampled; it is known whether the parent is another process's; it is.
        writer.int(0x101 | (span.isParentRemote ? 0x200 : 0))
        writer.key("name")
        writer.string(span.name)
        writer.key("kind")
        writer.int(span.kind.rawValue)
        writer.key("startTimeUnixNano")
        writer.string(String(span.start))
        writer.key("endTimeUnixNano")
        writer.string(String(span.end))
        write(span.attributes, to: &writer)
        writer.key("status")
        writer.beginMap(1)
        if span.hasFailed {
            writer.key("code")
            writer.int(2)
        }
        writer.endMap()
        writer.endMap()
    }

    private static func write(_ attributes: [Span.Attribute], to writer: inout JSONWriter) {
        writer.key("attributes")
        writer.beginArray(attributes.count)
        for attribute in attributes {
            writer.beginMap(2)
            writer.key("key")
            writer.string(attribute.name)
            writer.key("value")
            writer.beginMap(1)
            switch attribute.value {
            case .text(let text):
                writer.key("stringValue")
                writer.string(text)
            case .number(let number):
                writer.key("intValue")
                writer.string(String(number))
            }
            writer.endMap()
            writer.endMap()
        }
        writer.endArray()
    }

    private static func hex(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
