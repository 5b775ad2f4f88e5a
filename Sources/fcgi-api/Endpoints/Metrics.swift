import ChatCore
import ChatProcess
import Crypto

/// Serves the metrics of all three programs on this machine in Prometheus' text format, from their scoreboards.
struct MetricsEndpoint {
    let runDirectory: String
    /// Nil: only requests from this machine are allowed.
    let token: String?
    /// The number of messages in the broker's queues; nil when it is unknown.
    var waitingMessages: () -> Int? = { nil }
    private static let programs = ["fcgi-api", "ws-relay", "queue-worker"]

    func add(to router: inout Router) {
        router.on("GET", "/metrics", open: true, query: nil) { call throws(Refusal) in
            try check(call.request)
            return Response(
                status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: Array(text().utf8))
        }
    }

    /// Metrics are for the operator only: with the token, or from this machine when no token is set.
    func check(_ request: Request) throws(Refusal) {
        guard let token else {
            guard MetricsEndpoint.isLocal(request) else { throw Refusal(.notFound, "there is nothing at this address") }
            return
        }
        let words = pieces(of: request.header("authorization") ?? "", at: UInt8(ascii: " "))
        // Comparing digests takes a time that does not depend on where the texts differ.
        guard words.count == 2, words[0].lowercased() == "bearer",
            SHA256.hash(data: Array(words[1].utf8)) == SHA256.hash(data: Array(token.utf8))
        else { throw Refusal(.unauthorized, "send METRICS_TOKEN: Authorization: Bearer <token>") }
    }

    /// A request that another proxy forwarded has that proxy's address, so it may come from anywhere; so may one
    /// without an address.
    static func isLocal(_ request: Request) -> Bool {
        guard ["x-forwarded-for", "forwarded", "x-real-ip", "via"].allSatisfy({ request.header($0) == nil }),
            let address = request.parameter("REMOTE_ADDR")
        else { return false }
        let parts = pieces(of: address, at: UInt8(ascii: "."), omittingEmpty: false)
        let isIPv4 = parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        return isIPv4 || address == "::1" || address == "unix:"
    }

    func text() -> String {
        var lines: [String: [String]] = ["build_info": ["chat_build_info{version=\"\(chatVersion)\"} 1\n"]]
        if let waiting = waitingMessages() { lines["queue_messages"] = ["chat_queue_messages \(waiting)\n"] }
        for program in MetricsEndpoint.programs {
            let folder = RunFolder(runDirectory, program: program)
            guard let board = try? Scoreboard.open(at: folder.scoreboard) else { continue }
            for (index, pool) in board.pools.enumerated() { add(board, program, pool, index, &lines) }
        }
        return lines.sorted { $0.key < $1.key }.map { name, values in
            "# HELP chat_\(name) \(MetricWords.help(name))\n# TYPE chat_\(name) \(MetricWords.kind(of: name))\n"
                + values.joined()
        }.joined()
    }

    private func add(
        _ board: Scoreboard, _ program: String, _ pool: String, _ index: Int, _ lines: inout [String: [String]]
    ) {
        let live = board.liveRows.filter { $0[.pool] == index }
        let labels = "program=\"\(program)\",pool=\"\(pool)\""
        func put(_ name: String, _ value: String, _ more: String = "") {
            lines[name, default: []].append("chat_\(name){\(labels)\(more)} \(value)\n")
        }
        // Includes the totals of ended workers: a total never decreases.
        func total(_ field: ScoreboardRow.Field) -> Int {
            live.reduce(board.ended(pool: index)[field]) { $0 + $1[field] }
        }
        for state in [ScoreboardRow.State.starting, .idle, .busy, .stopping] {
            put("workers", "\(live.count { $0.state == state })", ",state=\"\(state)\"")
        }
        put("requests_total", "\(total(.requests))")
        put("request_errors_total", "\(total(.clientErrors))", ",class=\"4xx\"")
        put("request_errors_total", "\(total(.serverErrors))", ",class=\"5xx\"")
        put("response_bytes_total", "\(total(.bytesOut))")
        put("request_seconds_total", "\(Double(total(.busyNanoseconds)) / 1e9)")
        put("resident_bytes", "\(live.reduce(0) { $0 + $1[.residentBytes] })")
        put("cpu_seconds", "\(Double(live.reduce(0) { $0 + $1[.cpuNanoseconds] }) / 1e9)")
        for (counter, name) in board.counters.enumerated() {
            let ended = board.ended(pool: index).counter(counter)
            if let (name, value) = sample(name, live.map { $0.counter(counter) }, ended: ended) { put(name, value) }
        }
        for (place, name) in board.histograms.enumerated() {
            let numbers = live.reduce(board.ended(pool: index).histogram(place).numbers) {
                zip($0, $1.histogram(place).numbers).map(+)
            }
            MetricsEndpoint.put(histogram: name, numbers, labels, &lines)
        }
    }

    /// A counter's name in the metrics, and its value. Nil: it has no sample.
    private func sample(_ name: String, _ values: [Int], ended: Int) -> (name: String, value: String)? {
        switch name {
        // The relay counts its requests in both places: one name has one sample.
        case "requests_total": return nil
        case "oldest_command_at": return ("oldest_command_seconds", age(since: values.filter { $0 != 0 }.min()))
        case "replica_lag_seconds":
            return ReplicaLag.seconds(of: values).map { (name, $0.isFinite ? "\($0)" : "+Inf") }
        default: return (name, "\(values.reduce(name.hasSuffix("_total") ? ended : 0, +))")
        }
    }

    private func age(since accepted: Int?) -> String {
        accepted.map { "\(Double(max(0, systemClock() - Int64($0))) / 1000)" } ?? "0"
    }

    /// Empty series are left out: a pool without messages has no histogram of them.
    private static func put(
        histogram: String, _ numbers: [Int], _ labels: String, _ lines: inout [String: [String]]
    ) {
        let counts = numbers.dropLast()
        guard counts.contains(where: { $0 != 0 }), let sum = numbers.last else { return }
        let parts = pieces(of: histogram, at: UInt8(ascii: "{"), maxSplits: 1)
        let labels = labels + (parts.count > 1 ? ",\(parts[1].dropLast())" : "")
        var (text, below) = ("", 0)
        for (place, count) in counts.enumerated() {
            below += count
            let bound = place < Histogram.bounds.count ? "\(Double(Histogram.bounds[place]) / 1e9)" : "+Inf"
            text += "chat_\(parts[0])_bucket{\(labels),le=\"\(bound)\"} \(below)\n"
        }
        text += "chat_\(parts[0])_sum{\(labels)} \(Double(sum) / 1e9)\n"
        text += "chat_\(parts[0])_count{\(labels)} \(below)\n"
        lines[String(parts[0]), default: []].append(text)
    }
}
