import ChatCore
import ChatProcess
import Crypto

/// Serves the metrics of all three programs on this machine in Prometheus' text format, from their scoreboards.
struct MetricsEndpoint {
    let runDirectory: String
    /// Nil: only requests from this machine are allowed.
    let token: String?
    private static let programs = ["fcgi-api", "ws-relay", "queue-worker"]

    func add(to router: inout Router) {
        router.on("GET", "/metrics", open: true, query: nil) { call throws(Refusal) in
            try check(call.request)
            return Response(
                status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: Array(text().utf8))
        }
    }

    /// Metrics are for the operator only: with the token, or from this machine when no token is set.
    private func check(_ request: Request) throws(Refusal) {
        guard let token else {
            guard MetricsEndpoint.isLocal(request) else { throw Refusal(.notFound, "there is nothing at this address") }
            return
        }
        let words = pieces(of: request.header("authorization") ?? "", at: UInt8(ascii: " "))
        // Comparing digests takes the same time wherever the texts differ.
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
            let start = name.hasSuffix("_total") ? board.ended(pool: index).counter(counter) : 0
            put(name, "\(live.reduce(start) { $0 + $1.counter(counter) })")
        }
    }
}
