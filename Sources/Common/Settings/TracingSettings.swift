/// Traces for an OpenTelemetry collector, under the names that every program with OpenTelemetry has.
public struct TracingSettings: Sendable {
    /// Where spans are sent; empty: nothing is traced. It may hold a password.
    public var url: String
    /// `Name: value`, secrets.
    public var headers: [String]
    /// For one request.
    public var timeout: Duration
    /// Spans gather for this time before they are sent.
    public var delay: Duration
    /// Spans that may wait in each process; further ones are dropped.
    public var queueLength: Int
    public var sampler: TraceSampler
    /// Attributes of all spans, beside those of the process.
    public var resource: [Span.Attribute]
    /// A file of certificate authorities in addition to the system's.
    public var authorities: String?

    public var isOn: Bool { !url.isEmpty }

    /// `url` for a log: without a user, a password or a query.
    public var shownURL: String {
        guard let parts = try? ServerURL(url, ports: Self.ports), let host = parts.hosts.first else { return "" }
        return "\(parts.scheme)://\(host)"
    }

    private static let ports = ["http": 80, "https": 443]

    init(_ values: inout SettingsReader) {
        url = Self.url(&values)
        let format = values.text("OTEL_EXPORTER_OTLP_PROTOCOL", default: "http/json")
        if !format.utf8.elementsEqual("http/json".utf8) {
            values.problem(
                "OTEL_EXPORTER_OTLP_PROTOCOL=\(format) is not supported: traces are sent as http/json, which collectors take "
                    + "on the port of OTLP/HTTP, 4318")
        }
        headers = Self.pairs("OTEL_EXPORTER_OTLP_HEADERS", &values).map { "\($0.name): \($0.value)" }
        timeout = values.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", default: 10_000, in: 10...600_000)
        delay = values.milliseconds("OTEL_BSP_SCHEDULE_DELAY", default: 5000, in: 10...600_000)
        queueLength = values.number("OTEL_BSP_MAX_QUEUE_SIZE", default: 2048, in: 1...1_000_000)
        sampler = Self.sampler(&values)
        resource = Self.pairs("OTEL_RESOURCE_ATTRIBUTES", &values).map { Span.Attribute($0.name, .text($0.value)) }
        if let name = values.optional("OTEL_SERVICE_NAME") {
            resource.removeAll { $0.name.utf8.elementsEqual("service.name".utf8) }
            resource.append(Span.Attribute("service.name", .text(name)))
        }
    }

    /// The base of all signals gets the path of traces; the address of traces is taken as it is.
    private static func url(_ values: inout SettingsReader) -> String {
        var base = values.text("OTEL_EXPORTER_OTLP_ENDPOINT", default: "")
        let own = values.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", default: "")
        values.expectHTTP("OTEL_EXPORTER_OTLP_ENDPOINT", base)
        values.expectHTTP("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own)
        if base.utf8.contains(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) {
            values.problem(
                "OTEL_EXPORTER_OTLP_ENDPOINT: /v1/traces is appended, so it may have no query; "
                    + "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used unchanged")
        }
        guard own.isEmpty, !base.isEmpty else { return own }
        while base.utf8.last == UInt8(ascii: "/") { base.removeLast() }
        return base + "/v1/traces"
    }

    private static func sampler(_ values: inout SettingsReader) -> TraceSampler {
        let name = values.choice("OTEL_TRACES_SAMPLER", TraceSampler.names, default: "parentbased_always_on")
        var ratio = 1.0
        if let text = values.optional("OTEL_TRACES_SAMPLER_ARG") {
            if let number = Double(text), (0...1).contains(number) {
                ratio = number
            } else {
                values.problem("OTEL_TRACES_SAMPLER_ARG=\(text) is not a number from 0 to 1")
            }
        }
        return TraceSampler(name, ratio: ratio)
    }

    /// `name=value,name=value`; values are percent-encoded. A problem never shows them.
    private static func pairs(_ setting: String, _ values: inout SettingsReader) -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        for (index, part) in values.list(setting).enumerated() where !part.isEmpty {
            let sides = pieces(of: part, at: UInt8(ascii: "="), maxSplits: 1, omittingEmpty: false)
            let name = sides.first.map(trimmed) ?? ""
            guard sides.count == 2, !name.isEmpty, name.utf8.allSatisfy(isHTTPTokenByte),
                let value = withoutPercentEscapes(trimmed(sides[1]).utf8).flatMap({
                    String(validating: $0, as: UTF8.self)
                }),
                !value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f })
            else {
                values.problem("\(setting): its part number \(index + 1) is not of the form name=value")
                continue
            }
            pairs.append((name, value))
        }
        return pairs
    }
}
