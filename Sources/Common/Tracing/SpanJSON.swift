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
        writer.map {
            $0.array("resourceSpans", CollectionOfOne(spans)) { writer, spans in
                writer.map {
                    $0.map("resource") { Self.write(resource, to: &$0) }
                    $0.array("scopeSpans", CollectionOfOne(spans)) { write($1, to: &$0) }
                }
            }
        }
        return writer.take()
    }

    private func write(_ spans: [Span], to writer: inout JSONWriter) {
        writer.map {
            $0.map("scope") {
                $0.field("name", scope)
                $0.field("version", version)
            }
            $0.array("spans", spans) { Self.write($1, to: &$0) }
        }
    }

    private static func write(_ span: Span, to writer: inout JSONWriter) {
        writer.map {
            $0.field("traceId", hex(span.trace.high) + hex(span.trace.low))
            $0.field("spanId", hex(span.id))
            $0.field("parentSpanId", ifAny: span.parent.map(hex))
            // The flags: sampled; known whether the parent is remote; the parent is remote.
            $0.field("flags", 0x101 | (span.isParentRemote ? 0x200 : 0))
            $0.field("name", span.name)
            $0.field("kind", span.kind.rawValue)
            $0.field("startTimeUnixNano", String(span.start))
            $0.field("endTimeUnixNano", String(span.end))
            write(span.attributes, to: &$0)
            $0.map("status") { if span.hasFailed { $0.field("code", 2) } }
        }
    }

    private static func write(_ attributes: [Span.Attribute], to writer: inout JSONWriter) {
        writer.array("attributes", attributes) { writer, attribute in
            writer.map {
                $0.field("key", attribute.name)
                $0.map("value") {
                    switch attribute.value {
                    case .text(let text): $0.field("stringValue", text)
                    case .number(let number): $0.field("intValue", String(number))
                    }
                }
            }
        }
    }

    private static func hex(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
