import ChatCore
import ChatProcess

/// Numbers of all three programs on this machine, in Prometheus' text format, from their scoreboards.
struct MetricsEndpoint {
    let runDirectory: String
    private static let programs = ["fcgi-api", "ws-relay", "queue-worker"]

    func add(to router: inout Router) {
        router.on("GET", "/metrics", open: true, query: nil) { call throws(Refusal) in
            guard MetricsEndpoint.isLocal(call.request.parameter("REMOTE_ADDR")) else {
                throw Refusal(.notFound, "there is nothing at this address")
            }
            return Response(
                status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: Array(text().utf8))
        }
    }

    /// What runs where is for the operator alone.
    static func isLocal(_ address: String?) -> Bool {
        guard let address, !address.isEmpty else { return true }
        return address.hasPrefix("127.") || address == "::1" || address == "unix:"
    }

    func text() -> String {
        var lines: [String: [String]] = [:]
        for program in MetricsEndpoint.programs {
            let folder = RunFolder(runDirectory, program: program)
            guard let board = try? Scoreboard.open(at: folder.scoreboard) else { continue }
            for (index, pool) in board.pools.enumerated() { add(board, program, pool, index, &lines) }
        }
        return lines.sorted { $0.key < $1.key }.map { name, values in
            "# TYPE \(name) \(name.hasSuffix("_total") ? "counter" : "gauge")\n" + values.joined()
        }.joined()
    }

    private func add(
        _ board: Scoreboard, _ program: String, _ pool: String, _ index: Int, _ lines: inout [String: [String]]
    ) {
        let live = board.liveRows.filter { $0[.pool] == index }
        let labels = "program=\"\(program)\",pool=\"\(pool)\""
        func put(_ name: String, _ value: String, _ more: String = "") {
            lines["chat_" + name, default: []].append("chat_\(name){\(labels)\(more)} \(value)\n")
        }
        // What ended workers did counts as well: a total never goes back.
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
            let start = name.hasSuffix("_total") ? board.ended(pool: index).counter(counter) : 0
            put(name, "\(live.reduce(start) { $0 + $1.counter(counter) })")
        }
    }
}
