import ChatCore

/// The result of a run, for people, for programs and for the page.
struct Report {
    let load: LoadRun
    let settlement: Settlement
    let cpu = ownCPU()

    init(_ load: LoadRun, _ settlement: Settlement) { (self.load, self.settlement) = (load, settlement) }

    static let shares: [(name: String, share: Double)] = [
        ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1),
    ]

    var histograms: [(name: String, key: String, histogram: Histogram)] {
        [
            ("send to acknowledgement", "ack", load.latencies.ack), ("send to each copy", "copy", load.latencies.copy),
            ("resume", "resume", load.latencies.resume), ("upload", "upload", load.latencies.upload),
            ("REST call", "rest", load.latencies.rest),
        ]
    }

    var seconds: Double { Double(load.elapsed) / 1e9 }

    /// Microseconds of this client's CPU for each message: with sending, its answer and all copies.
    var cpuOfMessage: Double { Double(cpu) / 1000 / Double(max(1, load.figures.sent)) }

    enum RunOutcome {
        case held, broken
        /// No broken promise was seen, but too little was seen to be sure.
        case notKnown(String)
    }

    var outcome: RunOutcome {
        if load.ledger.isBroken { return .broken }
        if let problem = settlement.problems.first { return .notKnown(problem) }
        guard load.ledger.acknowledged > 0 else {
            return .notKnown("no message was acknowledged, of \(load.figures.sent) sent")
        }
        return .held
    }

    var isHeld: Bool { if case .held = outcome { true } else { false } }

    var verdict: String {
        let ledger = load.ledger
        switch outcome {
        case .held:
            return "the promises held: \(ledger.acknowledged) messages acknowledged, \(ledger.copies) copies\(leftOpen)"
        case .notKnown(let reason): return "not known: \(reason)\(leftOpen)"
        case .broken:
            let counts = Ledger.Breach.allCases.compactMap { breach in
                ledger.breaches[breach].map { "\(breach.rawValue) \($0)" }
            }
            return (["a promise was broken: \(counts.joined(separator: ", "))"] + ledger.examples.map { "  \($0)" })
                .joined(separator: "\n") + leftOpen
        }
    }

    /// The messages without a result: nothing was promised, or a member was not connected.
    private var leftOpen: String {
        let parts = [
            (settlement.unanswered, "without an answer"), (settlement.unsent, "not sent"),
            (settlement.undelivered, "not yet at a member"), (load.ledger.refused, "refused"),
        ]
        let open = parts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
        return open.isEmpty ? "" : "; left open: \(open.joined(separator: ", "))"
    }

    /// One figure of the ledger: a row for people, a field for programs.
    struct Row {
        let name: String
        /// The field; nil: the row is only for people.
        let key: String?
        let value: Int
        /// Instead of the number.
        var text: String?
        /// False: people do not see the row, because it has no information.
        var isShown = true
    }

    /// The ledger, row by row.
    var ledgerRows: [Row] {
        let (ledger, figures) = (load.ledger, load.figures)
        return [
            Row(name: "sent", key: "Sent", value: figures.sent),
            Row(name: "sent again with the same Sign", key: "Repeated", value: figures.repeated),
            Row(name: "files among them", key: "Uploads", value: figures.uploads),
            Row(name: "acknowledged", key: "Acknowledged", value: ledger.acknowledged),
            Row(name: "at all members", key: "Completed", value: ledger.completed),
            Row(name: "copies", key: "Copies", value: ledger.copies),
            Row(name: "refused for good", key: "Refused", value: ledger.refused),
            Row(name: "refusals, also those repeated later", key: nil, value: figures.refused),
        ]
            + Ledger.Breach.allCases.map {
                Row(name: $0.rawValue, key: $0.key, value: ledger.breaches[$0] ?? 0)
            } + openRows + socketRows
    }

    private var openRows: [Row] {
        let skipped = load.figures.skipped
        return [
            Row(name: "unknown: no answer", key: nil, value: settlement.unanswered),
            Row(name: "of these in the history", key: "UnknownStored", value: settlement.stored),
            Row(name: "of these not in it", key: "UnknownNotStored", value: settlement.notStored, isShown: false),
            Row(name: "of these not known", key: "Unknown", value: settlement.unknown, isShown: false),
            Row(
                name: "not sent: the socket was away", key: "Unsent", value: settlement.unsent,
                isShown: settlement.unsent > 0),
            Row(
                name: "acknowledged, but a member was away at the end", key: "Undelivered",
                value: settlement.undelivered, isShown: settlement.undelivered > 0),
            Row(name: "not sent: --in-flight was reached", key: "Skipped", value: skipped, isShown: skipped > 0),
            Row(
                name: "read in the history", key: "InHistory", value: settlement.inHistory,
                text: settlement.roomsRead == 0 ? "not asked" : nil),
        ]
    }

    private var socketRows: [Row] {
        let (ledger, figures) = (load.ledger, load.figures)
        return [
            Row(name: "sockets opened", key: nil, value: figures.opened),
            Row(name: "reconnects with resume", key: "Reconnects", value: figures.reconnects),
            Row(name: "moved to another relay, with two sockets at once", key: "Moved", value: figures.moves),
            Row(name: "closed on purpose", key: "Churned", value: figures.churned),
            Row(name: "resyncs", key: "Resyncs", value: figures.resyncs),
            Row(name: "own messages told again", key: nil, value: figures.ownAgain),
            Row(
                name: "most messages in flight", key: "MostInFlight", value: ledger.peakInFlight,
                text: "\(ledger.peakInFlight) (\(Ledger.bytesInFlight) bytes each)"),
        ]
    }

    /// For people.
    var rows: [(String, String)] {
        ledgerRows.filter(\.isShown).map { ($0.name, $0.text ?? "\($0.value)") }
            + [("CPU of this client for each message", "\(short(cpuOfMessage)) us")]
    }

    var settings: [(String, String)] {
        let options = load.options
        var rows = [
            ("address", load.place.base), ("version of the server", load.version),
            ("began", date(load.began)),
            ("sent for", "\(short(seconds)) s\(load.wasInterrupted ? " (interrupted)" : "")"),
            ("users", "\(options.users)"), ("rooms", "\(options.rooms) of \(options.members)"),
            ("rate", "\(short(options.rate))/s"), ("ramp", "\(short(Double(options.ramp) / 1e9)) s"),
            (
                "size",
                options.size.count == 1
                    ? "\(options.size.lowerBound) bytes"
                    : "\(options.size.lowerBound) to \(options.size.upperBound) bytes"
            ),
            ("uploads", "\(fixed(options.uploads, 2))/s of \(options.uploadSize) bytes"),
            ("churn", "\(fixed(options.churn, 2))/s"),
            ("seed", "\(options.seed)"), ("run", load.run),
        ]
        if !settlement.left.isEmpty { rows.append(("left", settlement.left)) }
        return rows
    }

    var text: String {
        var lines = [
            "", pad("milliseconds", 26) + Self.shares.map { padLeft($0.name, 10) }.joined() + padLeft("count", 12),
        ]
        for (name, _, histogram) in histograms where histogram.count > 0 {
            lines.append(
                pad(name, 26) + histogram.quantiles(Self.shares.map(\.share)).map { padLeft(ms($0), 10) }.joined()
                    + padLeft("\(histogram.count)", 12))
        }
        lines.append("")
        lines += rows.map { pad($0.0, 48) + $0.1 }
        let errors = load.figures.byCode
        if !errors.isEmpty {
            lines += ["", "errors by code"] + errors.prefix(20).map { "\(padLeft("\($0.count)", 8))  \($0.text)" }
        }
        lines += settlement.problems
        if !settlement.left.isEmpty { lines.append(settlement.left) }
        return (lines + ["", verdict]).joined(separator: "\n")
    }

    var json: [UInt8] {
        var writer = JSONWriter(reserving: 65_536)
        writer.map {
            $0.field("Held", isHeld)
            $0.map("Settings") { writer in for (name, value) in settings { writer.field(named: name, value) } }
            $0.map("Ledger") { writer in
                for row in ledgerRows { if let key = row.key { writer.field(named: key, row.value) } }
            }
            $0.array("Examples", load.ledger.examples) { $0.string($1) }
            $0.map("Errors") { writer in for (text, count) in load.figures.byCode { writer.field(named: text, count) } }
            $0.map("Latencies") { writer in
                for (_, key, histogram) in histograms {
                    writer.key(named: key)
                    writer.map { Self.write(histogram, &$0) }
                }
            }
            $0.field("ClientMicrosecondsOfCPU", cpu / 1000)
            $0.field("Seconds") { $0.double(seconds) }
            $0.array("Series", load.series.points) { Self.write($1, &$0) }
        }
        return writer.take() + [UInt8(ascii: "\n")]
    }

    private static func write(_ point: Series.Point, _ writer: inout JSONWriter) {
        writer.map(.long) {
            $0.field("At", point.at / millisecond)
            $0.field("Sent", point.sent)
            $0.field("Acknowledged", point.acknowledged)
            $0.field("Copies", point.copies)
            $0.field("Reconnects", point.reconnects)
            $0.field("Refused", point.refused)
            $0.field("Errors", point.errors)
            $0.field("Open", point.open)
            $0.field("AckP50", point.ackHalf)
            $0.field("AckP99", point.ack99)
            $0.field("CopyP50", point.copyHalf)
            $0.field("CopyP99", point.copy99)
        }
    }

    /// Microseconds, and the percentile table of HdrHistogram.
    private static func write(_ histogram: Histogram, _ writer: inout JSONWriter) {
        writer.field("Count", histogram.count)
        for (share, value) in zip(shares, histogram.quantiles(shares.map(\.share))) {
            writer.field(named: share.name, Int(value))
        }
        writer.array("Table", histogram.table()) { writer, row in
            writer.beginArray(3)
            writer.int(row.microseconds)
            writer.double(row.share)
            writer.int(Int64(row.total))
            writer.endArray()
        }
    }
}
