import CLoad
import Glibc

/// `bench-client messages|history name=value …`: prints `ready` when its connections are open, starts when it reads a line
/// from standard input, and prints its counters, one name and value per line; the last line is `end`. `bench-client
/// pauses` starts at once.
@main
struct ChatLoad {
    static func main() {
        guard CommandLine.arguments.count > 1 else { fail("say messages, history or pauses, and their values") }
        _ = load_exact_sleeps()
        let values = Values(CommandLine.arguments.dropFirst(2))
        switch CommandLine.arguments[1] {
        case "messages":
            MessageLoad(
                MessageLoad.Order(
                    port: UInt16(values.number("port")), plan: plan(), run: values.text("run"),
                    rate: values.number("rate"), seconds: values.number("seconds"), bytes: values.number("bytes"))
            ).run()
        case "history":
            HistoryLoad(
                HistoryLoad.Order(
                    port: UInt16(values.number("port")), path: values.text("path"), token: values.text("token"),
                    connections: values.number("connections"), requests: values.number("requests"))
            ).run()
        case "pauses": watchPauses(seconds: values.number("seconds"))
        default: fail("unknown load \(CommandLine.arguments[1])")
        }
    }

    /// Reads standard input up to an empty line.
    private static func plan() -> [(room: String, token: String)] {
        var lines: [(room: String, token: String)] = []
        while let line = readLine(), !line.isEmpty {
            let words = line.split(separator: " ")
            guard words.count == 2 else { fail("a line of the plan is not a room and a token") }
            lines.append((String(words[0]), String(words[1])))
        }
        return lines
    }
}

struct Values {
    private var values: [String: String] = [:]

    init(_ words: ArraySlice<String>) {
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
    }

    func text(_ name: String) -> String {
        guard let value = values[name] else { fail("\(name)=… is missing") }
        return value
    }

    func number(_ name: String) -> Int {
        guard let number = Int(text(name)) else { fail("\(name) is no number") }
        return number
    }
}
