/// One page without scripts and without other files: pictures are SVG inside it, and its colours follow the reader's.
struct HTMLReport {
    private let report: Report
    init(_ report: Report) { self.report = report }

    private static let style = """
        :root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6470;--line:#d5dae0;--back:#fff;--one:#0b62c4;--two:#b3560b;\
        --good:#17693a;--bad:#b3191f}
        @media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b1;--line:#3a424d;--back:#14181d;--one:#6bb0ff;\
        --two:#ffb067;--good:#6fd397;--bad:#ff8a8e}}
        *{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);\
        max-width:62rem;margin:0 auto;padding:1.5rem}
        h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
        .verdict{border-left:.4rem solid;padding:.5rem 1rem;margin:1rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
        .held{border-color:var(--good)}.broken{border-color:var(--bad)}.open{border-color:var(--line)}
        table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid var(--line)}
        th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
        td{overflow-wrap:anywhere}.wide{overflow-x:auto}
        svg{width:100%;height:auto;display:block}figure{margin:0}figcaption{color:var(--soft);font-size:.85rem}
        .grid{stroke:var(--line)}.label{fill:var(--soft);font:12px system-ui,sans-serif}
        .one{stroke:var(--one)}.two{stroke:var(--two)}.one,.two{fill:none;stroke-width:1.8;stroke-linejoin:round}
        .two{stroke-dasharray:6 3}.key1{fill:var(--one)}.key2{fill:var(--two)}

        """

    var page: String {
        let load = report.load
        let errors = load.figures.byCode
        let (word, title, colour) =
            switch report.outcome {
            case .held: ("Held", "the promises held", "held")
            case .broken: ("Broken", "a promise was broken", "broken")
            case .notKnown: ("Not known", "not known", "open")
            }
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
            <title>chat-load: \(title)</title><style>
            \(Self.style)</style></head><body><main>
            <h1>chat-load</h1>
            <p>\(Self.text(load.place.base)), \(Self.text(date(load.began)))</p>
            <p class="verdict \(colour)"><strong>\(word)</strong>: \(Self.text(report.verdict))</p>
            <h2>Latency, milliseconds</h2>
            <p>Counted from the time at which a message was due, not from when it was written to a socket: a stall of the server \
            counts for every message that was due meanwhile (no coordinated omission).</p>
            \(latencies)
            \(pictures.map(\.figure).joined(separator: "\n"))
            <h2>Ledger</h2>
            \(Self.table(["", ""], report.rows.map { [$0.0, $0.1] }))
            \(errors.isEmpty ? "" : "<h2>Errors by code</h2>" + Self.table(["", "count"], errors.prefix(50).map { [$0.text, "\($0.count)"] }))
            <h2>Settings of the run</h2>
            \(Self.table(["", ""], report.settings.map { [$0.0, $0.1] }))
            \(tables)
            </main></body></html>

            """
    }

    private var pictures: [Chart] {
        func line(_ value: (Series.Point) -> Double) -> [(Double, Double)] {
            report.load.series.points.map { (Double($0.at) / 1e9, value($0)) }
        }
        return [
            Chart(
                title: "Acknowledgement over time", unit: "ms", across: "seconds",
                lines: [
                    ("p50", line { Double($0.ackHalf) / 1000 }), ("p99", line { Double($0.ack99) / 1000 }),
                ]),
            Chart(
                title: "Each copy over time", unit: "ms", across: "seconds",
                lines: [
                    ("p50", line { Double($0.copyHalf) / 1000 }), ("p99", line { Double($0.copy99) / 1000 }),
                ]),
            percentiles,
            Chart(
                title: "Messages over time", unit: "a second", across: "seconds",
                lines: [
                    ("sent", line { Double($0.sent) / max(0.001, $0.seconds) }),
                    ("acknowledged", line { Double($0.acknowledged) / max(0.001, $0.seconds) }),
                ]),
            Chart(
                title: "Reconnects and errors over time", unit: "", across: "seconds",
                lines: [
                    ("reconnects", line { Double($0.reconnects) }),
                    ("errors and refusals", line { Double($0.errors + $0.refused) }),
                ]),
        ]
    }

    private var latencies: String {
        Self.table(
            [""] + Report.shares.map(\.name) + ["count"],
            report.histograms.filter { $0.histogram.count > 0 }.map { name, _, histogram in
                [name] + histogram.quantiles(Report.shares.map(\.share)).map { ms($0) } + ["\(histogram.count)"]
            })
    }

    /// The horizontal axis is the logarithm of the share above: p90, p99 and p99.9 have equal distances.
    private var percentiles: Chart {
        func line(_ histogram: Histogram) -> [(Double, Double)] {
            histogram.table().dropLast().map { row in (nines(row.share), Double(row.microseconds) / 1000) }
        }
        return Chart(
            title: "Latency by percentile", unit: "ms", across: "percentile",
            lines: [
                ("acknowledgement", line(report.load.latencies.ack)), ("each copy", line(report.load.latencies.copy)),
            ],
            ticks: [(0, "0"), (1, "90"), (2, "99"), (3, "99.9"), (4, "99.99"), (5, "99.999")])
    }

    private var tables: String {
        report.histograms.filter { $0.histogram.count > 0 }.map { name, _, histogram in
            "<details><summary>Percentile table: \(name)</summary>"
                + Self.table(
                    ["value, ms", "percentile", "count"],
                    histogram.table().map {
                        ["\(fixed(Double($0.microseconds) / 1000, 2))", "\($0.share * 100)", "\($0.total)"]
                    })
                + "</details>"
        }.joined(separator: "\n")
    }

    private static func table(_ head: [String], _ rows: [[String]]) -> String {
        func row(_ cells: [String], _ name: String) -> String {
            "<tr>" + cells.map { "<\(name)>\(text($0))</\(name)>" }.joined() + "</tr>"
        }
        let top = head.allSatisfy(\.isEmpty) ? "" : "<thead>\(row(head, "th"))</thead>"
        return "<div class=\"wide\"><table>\(top)<tbody>\(rows.map { row($0, "td") }.joined())</tbody></table></div>"
    }

    /// Text from outside inside of HTML.
    static func text(_ value: String) -> String {
        var out = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "&": out += "&amp;"
            case "\"": out += "&quot;"
            default: out.unicodeScalars.append(scalar.value < 32 && scalar != "\n" ? " " : scalar)
            }
        }
        return out
    }
}

/// The number of nines: 1 for 0.9, 2 for 0.99.
private func nines(_ share: Double) -> Double {
    var (left, count) = (max(1e-9, 1 - share), 0.0)
    while left <= 0.1 {
        left *= 10
        count += 1
    }
    // Between two nines the scale is linear.
    return count + (1 - left) / 0.9
}

/// A line chart: an SVG with a text alternative that describes it.
struct Chart {
    let title: String
    let unit: String
    let across: String
    let lines: [(name: String, points: [(x: Double, y: Double)])]
    /// Positions and labels on the horizontal axis; empty: five round numbers.
    var ticks: [(Double, String)] = []

    private static let (width, height, left, right, top, bottom) = (900.0, 240.0, 60.0, 12.0, 12.0, 26.0)

    var figure: String {
        let all = lines.flatMap(\.points)
        let most = Self.round(above: all.map(\.y).max() ?? 0)
        let last = max(all.map(\.x).max() ?? 1, 0.001)
        func x(_ value: Double) -> Double { Self.left + value / last * (Self.width - Self.left - Self.right) }
        func y(_ value: Double) -> Double {
            Self.height - Self.bottom - value / most * (Self.height - Self.top - Self.bottom)
        }
        var parts: [String] = []
        for step in 0...4 {
            let value = most * Double(step) / 4
            parts.append(
                "<path class=\"grid\" d=\"M\(fixed(Self.left, 0)) \(fixed(y(value), 1))H\(fixed(Self.width - Self.right, 0))\"/>"
                    + Self.label(fixed(value, most < 10 ? 2 : 0), Self.left - 8, y(value) + 4, "end"))
        }
        let marks = ticks.isEmpty ? (0...4).map { (last * Double($0) / 4, short(last * Double($0) / 4)) } : ticks
        for (place, name) in marks where place <= last * 1.001 {
            parts.append(Self.label(name, x(place), Self.height - 8, place > last * 0.97 ? "end" : "middle"))
        }
        for (index, line) in lines.enumerated() where !line.points.isEmpty {
            let path = line.points.enumerated().map {
                "\($0 == 0 ? "M" : "L")\(fixed(x($1.x), 1)) \(fixed(y($1.y), 1))"
            }
            parts.append("<path class=\"\(index == 0 ? "one" : "two")\" d=\"\(path.joined())\"/>")
        }
        let keys = lines.enumerated().map { index, line in
            "<svg viewBox=\"0 0 24 8\" style=\"display:inline;width:1.5rem;height:.5rem\" aria-hidden=\"true\">"
                + "<path class=\"\(index == 0 ? "one" : "two")\" d=\"M0 4H24\"/></svg> \(line.name)"
        }
        return """
            <h2>\(title)</h2><figure><svg viewBox="0 0 \(fixed(Self.width, 0)) \(fixed(Self.height, 0))" role="img" \
            aria-label="\(HTMLReport.text(alternative))">\(parts.joined())</svg>
            <figcaption>\(keys.joined(separator: " · "))\(unit.isEmpty ? "" : "; \(unit)"), by \(across)</figcaption></figure>
            """
    }

    private var alternative: String {
        let parts = lines.map { line -> String in
            let values = line.points.map(\.y)
            guard let low = values.min(), let high = values.max(), let end = values.last else {
                return "\(line.name): none"
            }
            return "\(line.name) from \(fixed(low, 2)) to \(fixed(high, 2)), at the end \(fixed(end, 2))"
        }
        return "\(title)\(unit.isEmpty ? "" : ", \(unit)"): \(parts.joined(separator: "; "))"
    }

    private static func label(_ text: String, _ x: Double, _ y: Double, _ anchor: String) -> String {
        "<text class=\"label\" x=\"\(fixed(x, 1))\" y=\"\(fixed(y, 1))\" text-anchor=\"\(anchor)\">\(text)</text>"
    }

    /// The next larger number among 1, 2, 4, 5, 8 and their multiples by powers of ten.
    static func round(above value: Double) -> Double {
        guard value > 0 else { return 1 }
        var power = 0.001
        while true {
            for step in [1.0, 2, 4, 5, 8] where value <= step * power { return step * power }
            power *= 10
        }
    }
}
