import ChatCore
import Glibc

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

    var verdict: String {
        let ledger = load.ledger
        guard ledger.isBroken else {
            return settlement.problems.isEmpty
                ? "the promises held: \(ledger.acknowledged) messages acknowledged, \(ledger.copies) copies"
                : "not known: \(settlement.problems[0])"
        }
        let counts = Ledger.Breach.allCases.compactMap { breach in
            ledger.breaches[breach].map { "\(breach.rawValue) \($0)" }
        }
        return (["a promise was broken: \(counts.joined(separator: ", "))"] + ledger.examples.map { "  \($0)" })
            .joined(separator: "\n")
    }

    /// The ledger, row by row.
    var rows: [(String, String)] {
        let (ledger, figures) = (load.ledger, load.figures)
        var rows = [
            ("sent", "\(figures.sent)"), ("sent again with the same Sign", "\(figures.repeated)"),
            ("files among them", "\(figures.uploads)"),
            ("acknowledged", "\(ledger.acknowledged)"), ("at all members", "\(ledger.completed)"),
            ("copies", "\(ledger.copies)"), ("refused for good", "\(ledger.refused)"),
            ("refusals, also those repeated later", "\(figures.refused)"),
        ]
        rows += Ledger.Breach.allCases.map { ($0.rawValue, "\(ledger.breaches[$0] ?? 0)") }
        rows.append(("unknown: no answer", "\(settlement.stored + settlement.notStored + settlement.unknown)"))
        rows.append(("of these in the history", "\(settlement.stored)"))
        if settlement.unsent > 0 { rows.append(("not sent: the socket was away", "\(settlement.unsent)")) }
        if settlement.undelivered > 0 {
            rows.append(("acknowledged, but a member was away at the end", "\(settlement.undelivered)"))
        }
        if figures.skipped > 0 { rows.append(("not sent: --in-flight was reached", "\(figures.skipped)")) }
        rows.append(
            ("read in the history", settlement.roomsRead == 0 ? "not asked" : "\(settlement.inHistory)"))
        rows.append(("sockets opened", "\(figures.opened)"))
        rows.append(("reconnects with resume", "\(figures.reconnects)"))
        rows.append(("closed on purpose", "\(figures.churned)"))
        rows.append(("resyncs", "\(figures.resyncs)"))
        rows.append(("own messages told again", "\(figures.ownAgain)"))
        rows.append(("most messages in flight", "\(ledger.mostInFlight) (\(Ledger.bytesInFlight) bytes each)"))
        rows.append(("CPU of this client for each message", "\(short(cpuOfMessage)) us"))
        return rows
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

    var errors: [(String, Int)] {
        (load.figures.refusals.map { ("refused: \($0.key)", $0.value) } + load.figures.errors.map { ($0.key, $0.value) })
            .sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0 < $1.0 }
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
        if !errors.isEmpty {
            lines += ["", "errors by code"] + errors.prefix(20).map { "\(padLeft("\($0.1)", 8))  \($0.0)" }
        }
        lines += settlement.problems
        if !settlement.left.isEmpty { lines.append(settlement.left) }
        return (lines + ["", verdict]).joined(separator: "\n")
    }

    var json: [UInt8] {
        var writer = JSONWriter(reserving: 65_536)
        let (ledger, figures) = (load.ledger, load.figures)
        writer.map {
            $0.field("Held", !ledger.isBroken && settlement.problems.isEmpty)
            $0.map("Settings") { writer in for (name, value) in settings { writer.field(named: name, value) } }
            $0.map("Ledger") { writer in
                writer.field("Sent", figures.sent)
                writer.field("Repeated", figures.repeated)
                writer.field("Uploads", figures.uploads)
                writer.field("Acknowledged", ledger.acknowledged)
                writer.field("Completed", ledger.completed)
                writer.field("Copies", ledger.copies)
                writer.field("Refused", ledger.refused)
                writer.field("Lost", ledger.breaches[.lost] ?? 0)
                writer.field("Doubled", ledger.breaches[.doubled] ?? 0)
                writer.field("OutOfOrder", ledger.breaches[.outOfOrder] ?? 0)
                writer.field("Holes", ledger.breaches[.hole] ?? 0)
                writer.field("Altered", ledger.breaches[.altered] ?? 0)
                writer.field("UnknownStored", settlement.stored)
                writer.field("UnknownNotStored", settlement.notStored)
                writer.field("Unknown", settlement.unknown)
                writer.field("Unsent", settlement.unsent)
                writer.field("Undelivered", settlement.undelivered)
                writer.field("Skipped", figures.skipped)
                writer.field("InHistory", settlement.inHistory)
                writer.field("Reconnects", figures.reconnects)
                writer.field("Churned", figures.churned)
                writer.field("Resyncs", figures.resyncs)
                writer.field("MostInFlight", ledger.mostInFlight)
            }
            $0.array("Examples", ledger.examples) { $0.string($1) }
            $0.map("Errors") { writer in for (name, count) in errors { writer.field(named: name, count) } }
            $0.map("Latencies") { writer in
                for (_, key, histogram) in histograms {
                    writer.key(named: key)
                    writer.map { Self.write(histogram, &$0) }
                }
            }
            $0.field("ClientMicrosecondsOfCPU", cpu / 1000)
            $0.field("Seconds") { $0.double(seconds) }
            $0.array("Series", load.series.points) { writer, point in
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
        }
        return writer.take() + [UInt8(ascii: "\n")]
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

/// A report's file: looked at before the run, so that no run is in vain.
enum ReportFile {
    static func check(_ path: String) throws(Unusable) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Unusable("\(path) cannot be written: \(String(cString: strerror(errno)))") }
        close(descriptor)
    }

    static func write(_ bytes: [UInt8], _ path: String) throws(Unusable) {
        guard let file = fopen(path, "w") else {
            throw Unusable("\(path) cannot be written: \(String(cString: strerror(errno)))")
        }
        let count = fwrite(bytes, 1, bytes.count, file)
        guard fclose(file) == 0, count == bytes.count else { throw Unusable("\(path) could not be written whole") }
    }
}
