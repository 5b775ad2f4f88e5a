import ChatCore
import ChatProcess

/// A pool's own status and ping, as in php-fpm. A worker of the pool answers, so there is no answer while all are busy.
struct PoolEndpoints {
    let pool: PoolSettings
    let channel: WorkerChannel
    /// METRICS_TOKEN; the status needs it too.
    let token: String?

    func add(to router: inout Router) {
        if let path = pool.pingPath {
            router.on("GET", path, open: true, query: nil) { _ throws(Refusal) in .text(pool.pingAnswer + "\n") }
        }
        if let path = pool.statusPath {
            router.on("GET", path, open: true, query: ["json", "full"]) { call throws(Refusal) in
                try MetricsEndpoint(runDirectory: "", token: token).check(call.request)
                let names = call.request.query.pairs.map(\.name)
                let isFull = names.contains("full")
                guard names.contains("json") else { return .text(text(isFull: isFull)) }
                return Response(status: 200, type: Response.json, body: json(isFull: isFull))
            }
        }
    }

    private var index: Int { channel.scoreboard[.pool] }
    private var rows: [ScoreboardRow] { channel.board.liveRows.filter { $0[.pool] == index } }

    private var sizing: String {
        pool.isOnDemand ? "ondemand" : pool.workers == pool.maxWorkers ? "static" : "dynamic"
    }

    private func numbers(_ rows: [ScoreboardRow]) -> [(name: String, value: Int)] {
        let ended = channel.board.ended(pool: index)
        func total(_ field: ScoreboardRow.Field) -> Int { rows.reduce(ended[field]) { $0 + $1[field] } }
        let shed = rows.reduce(ended.counter(ApiCounter.shed.rawValue)) { $0 + $1.counter(ApiCounter.shed.rawValue) }
        return [
            ("start since", Int(systemClock() / 1000) - channel.board.startedAt), ("accepted conn", total(.requests)),
            ("shed requests", shed), ("idle processes", rows.count { $0.state == .idle }),
            ("active processes", rows.count { $0.state == .busy }), ("total processes", rows.count),
            ("max processes", pool.maxWorkers), ("client errors", total(.clientErrors)),
            ("server errors", total(.serverErrors)),
        ]
    }

    private func processes(_ rows: [ScoreboardRow]) -> [(pid: Int, state: String, requests: Int, request: String)] {
        rows.map { ($0[.pid], "\($0.state)", $0[.requests], $0.request) }
    }

    private func text(isFull: Bool) -> String {
        let rows = rows
        var lines = ["pool: \(pool.name)", "process manager: \(sizing)"]
        lines += numbers(rows).map { "\($0.name): \($0.value)" }
        if isFull {
            for process in processes(rows) {
                lines += ["", "pid: \(process.pid)", "state: \(process.state)", "requests: \(process.requests)"]
                lines.append("request: \(process.request)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func json(isFull: Bool) -> [UInt8] {
        let rows = rows
        let numbers = numbers(rows)
        var writer = JSONWriter()
        writer.map {
            $0.field("pool", pool.name)
            $0.field("process manager", sizing)
            for (name, value) in numbers { $0.field(named: name, value) }
            if isFull {
                $0.array("processes", processes(rows)) { writer, process in
                    writer.map {
                        $0.field("pid", process.pid)
                        $0.field("state", process.state)
                        $0.field("requests", process.requests)
                        $0.field("request", process.request)
                    }
                }
            }
        }
        return writer.take()
    }
}
