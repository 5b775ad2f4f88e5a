import CLoad
@preconcurrency import Glibc

/// The display during a run, on standard error: redrawn in place on a terminal, otherwise a line every five seconds.
final class LiveView {
    private let isQuiet: Bool
    private let isTerminal: Bool
    private let hasColour: Bool
    private var height = 0
    private var shown: Int64 = -1

    init(_ options: LoadOptions, _ environment: [String: String]) {
        isQuiet = options.isQuiet
        isTerminal = isatty(2) == 1 && environment["TERM"] != "dumb"
        hasColour = isTerminal && environment["NO_COLOR"] == nil
    }

    func opened(_ load: LoadRun) {
        let options = load.options
        say(
            "\(options.users) users, \(options.rooms) rooms of \(options.members), \(short(options.rate))/s for "
                + "\(short(Double(options.duration) / 1e9)) s against \(load.place.base) (version \(load.version), seed "
                + "\(options.seed))")
    }

    private func say(_ text: String) {
        if !isQuiet { fputs("\(text)\n", stderr) }
    }

    func show(_ load: LoadRun, _ point: Series.Point, isLast: Bool) {
        guard !isQuiet else { return }
        if isTerminal { return draw(load, point) }
        let at = point.at / (5 * second)
        guard at > shown || isLast else { return }
        shown = at
        let ledger = load.ledger
        say(
            "\(point.at / second) s: \(per(point.acknowledged, point))/s acknowledged, \(per(point.copies, point))/s copies, "
                + "ack p50 \(ms(point.ackHalf)) p99 \(ms(point.ack99)) ms, \(point.open) sockets, "
                + "\(load.figures.reconnects) reconnects, \(ledger.inFlight) in flight, \(load.figures.refused) refused; "
                + breaches(ledger))
    }

    private func breaches(_ ledger: Ledger) -> String {
        Ledger.Breach.allCases.map { "\($0.rawValue) \(ledger.breaches[$0] ?? 0)" }.joined(separator: ", ")
    }

    private func draw(_ load: LoadRun, _ point: Series.Point) {
        let width = max(20, load_columns(2) == 0 ? 80 : Int(load_columns(2)))
        let (ledger, figures) = (load.ledger, load.figures)
        let shares = [0.5, 0.9, 0.99, 0.999, 1]
        func row(_ name: String, _ values: [Int64]) -> String {
            pad(name, 22) + values.map { padLeft(ms($0), 10) }.joined()
        }
        var lines = [
            "\(pad("\(point.at / second) s", 10))\(point.open) sockets open, \(ledger.inFlight) messages in flight",
            "",
            "\(pad("a second", 22))\(per(point.sent, point)) sent, \(per(point.acknowledged, point)) acknowledged, "
                + "\(per(point.copies, point)) copies",
            "\(pad("in all", 22))\(figures.sent) sent, \(ledger.acknowledged) acknowledged, \(ledger.copies) copies, "
                + "\(figures.uploads) files",
            "\(pad("reconnects", 22))\(figures.reconnects) (\(figures.churned) on purpose), \(figures.resyncs) resyncs",
            "",
            pad("ms", 22) + ["p50", "p90", "p99", "p99.9", "max"].map { padLeft($0, 10) }.joined(),
            row("ack, last second", load.ackNowShown(shares)),
            row("ack, whole run", load.latencies.ack.quantiles(shares)),
            row("each copy", load.latencies.copy.quantiles(shares)),
            row("resume", load.latencies.resume.quantiles(shares)),
            "",
        ]
        let verdict = breaches(ledger)
        lines.append(paint(verdict, ledger.isBroken ? "31;1" : "32"))
        for (text, count) in figures.byCode.prefix(5) { lines.append("\(padLeft(String(count), 8))  \(text)") }
        redraw(lines, width)
    }

    /// Draws over the previous lines.
    private func redraw(_ lines: [String], _ width: Int) {
        var text = height > 0 ? "\u{1b}[\(height)A" : ""
        // Cut to the width: a wrapped line would spoil the count of lines.
        for line in lines {
            text += "\r\u{1b}[K" + (line.utf8.first == 27 ? line : String(line.prefix(width - 1))) + "\n"
        }
        text += "\u{1b}[J"
        height = lines.count
        fputs(text, stderr)
    }

    func end() { if isTerminal, !isQuiet { fputs("\n", stderr) } }

    private func paint(_ text: String, _ colour: String) -> String {
        hasColour ? "\u{1b}[\(colour)m\(text)\u{1b}[0m" : text
    }

    private func per(_ count: Int, _ point: Series.Point) -> String {
        short(Double(count) / max(0.001, point.seconds))
    }
}

// MARK: Numbers as text

/// Milliseconds with the significant digits.
func ms(_ microseconds: Int64) -> String { fixed(Double(microseconds) / 1000, microseconds < 100_000 ? 2 : 0) }

/// `50`, `0.5`: at most one digit after the point.
func short(_ value: Double) -> String {
    let text = fixed(value, value < 100 && value != value.rounded() ? 1 : 0)
    return text
}

func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, value >= 0, value < 1e15 else { return "-" }
    let factor = digits == 0 ? 1 : digits == 1 ? 10 : 100
    let whole = Int((value * Double(factor)).rounded())
    guard digits > 0 else { return String(whole) }
    let rest = String(whole % factor)
    return "\(whole / factor).\(String(repeating: "0", count: digits - rest.utf8.count))\(rest)"
}

func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
func padLeft(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
}
