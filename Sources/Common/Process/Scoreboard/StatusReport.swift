import Glibc

/// Answers of the control socket.
extension Master {
    func answer(_ line: String) -> String {
        let words = line.split(separator: " ").map(String.init)
        switch words.first {
        case "status" where words.count == 2 && words[1] == "json": return statusJSON()
        case "status": return status()
        case "reload":
            handle(.signal(.hangup))
            return "reload started, the log shows its result\n"
        case "stop":
            handle(.signal(.terminate))
            return "stopping\n"
        case "scale" where words.count == 3: return scale(words[1], words[2])
        case "drain" where words.count > 2: return drain(words[1], words.dropFirst(2).joined(separator: " "))
        default:
            return "error: the control socket knows status [json], scale POOL +1|-1|N, drain POOL …, reload and stop\n"
        }
    }

    private func scale(_ pool: String, _ amount: String) -> String {
        let names = state.pools.map(\.spec.name)
        guard names.contains(pool) else {
            return "error: there is no pool \(pool), only \(names.joined(separator: ", "))\n"
        }
        guard let number = Int(amount) else {
            return "error: \(amount) is not a count: write +1, -1 or a number\n"
        }
        let relative = amount.hasPrefix("+") || amount.hasPrefix("-")
        handle(.scale(pool: pool, relative ? .by(number) : .to(number)))
        return "pool \(pool): \(state.pools.first { $0.spec.name == pool }?.wantedText ?? "")\n"
    }

    private func status() -> String {
        let now = kernel.now
        let up = span(seconds: time(nil) - board.startedAt)
        var text = "\(program) pid \(getpid()), up \(up), generation \(state.generation)"
        text += state.stopping ? ", stopping\n\n" : "\n\n"
        text += drains.keys.sorted().map { "\($0): \(drainStatus($0))" }.joined()
        text += drains.isEmpty ? "" : "\n"
        text += table(poolRows()) + "\n" + table(workerRows(now: now))
        return text
    }

    private func poolRows() -> [[String]] {
        var rows = [["POOL", "READY", "WANTED", "LIMITS", "BUSY", "REQUESTS", "LISTENS ON"]]
        for pool in state.pools {
            let name = pool.spec.name
            let live = pool.workers.map { board.row($0.row) }
            let index = board.pools.firstIndex(of: name) ?? 0
            let requests = live.reduce(board.ended(pool: index)[.requests]) { $0 + $1[.requests] }
            let ready = pool.slots.filter { $0.current?.phase == .ready }.count
            let limits = pool.spec.isDynamic ? "\(pool.spec.workers)-\(pool.spec.maxWorkers)" : "static"
            let addresses = listeners(of: name).map(\.name).joined(separator: " ")
            rows.append(
                [
                    name, "\(ready)", "\(pool.wanted)", limits, "\(live.filter { $0.state == .busy }.count)",
                    "\(requests)",
                    addresses.isEmpty ? "-" : addresses,
                ])
        }
        return rows
    }

    private func workerRows(now: Nanoseconds) -> [[String]] {
        var rows = [
            [
                "WORKER", "PID", "GEN", "STATE", "UP", "REQUESTS", "4XX", "5XX", "MEAN MS", "CPU S", "MIB",
                "REQUEST",
            ]
        ]
        for worker in workersInOrder {
            let row = board.row(worker.row)
            let requests = row[.requests]
            let mean = requests == 0 ? "-" : decimal(row[.busyNanoseconds] / requests, unit: 1_000_000)
            let since = row[.requestStartedAt]
            let request =
                since == 0 ? row.request : "\(row.request) (\((Int(now) - since) / 1_000_000) ms)"
            rows.append(
                [
                    worker.label, "\(worker.pid)", "\(worker.generation)",
                    state(of: worker, row, now),
                    span(seconds: Int((now - worker.startedAt) / 1_000_000_000)), "\(requests)",
                    "\(row[.clientErrors])",
                    "\(row[.serverErrors])", mean, decimal(row[.cpuNanoseconds], unit: 1_000_000_000),
                    "\(row[.residentBytes] >> 20)", request,
                ])
        }
        return rows
    }

    var workersInOrder: [Worker] {
        state.workers.sorted { ($0.pool, $0.slot, $0.id) < ($1.pool, $1.slot, $1.id) }
    }

    /// A worker's state as both forms of `status` show it. The row is as old as the last turn of the worker's loop.
    func state(of worker: Worker, _ row: ScoreboardRow, _ now: Nanoseconds) -> String {
        guard worker.phase == .ready else { return worker.phase.rawValue }
        let silent = Int(now) - row[.heartbeatAt]
        guard row[.pid] == worker.pid, silent > 5_000_000_000 else { return "\(row.state)" }
        if kernel.isStopped(worker.pid) { return "stopped" }
        return row[.requestStartedAt] == 0 ? "silent" : "\(row.state)"
    }
}

/// Two digits after the decimal point.
private func decimal(_ value: Int, unit: Int) -> String {
    let hundredths = value * 100 / unit
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
}

private func span(seconds: Int) -> String {
    switch seconds {
    case ..<120: "\(max(0, seconds)) s"
    case ..<7200: "\(seconds / 60) min"
    case ..<172_800: "\(seconds / 3600) h"
    default: "\(seconds / 86_400) days"
    }
}

private func table(_ rows: [[String]]) -> String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        let cells = row.enumerated().map { column, cell in
            column == row.count - 1
                ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
        }
        return cells.joined(separator: "  ") + "\n"
    }.joined()
}
