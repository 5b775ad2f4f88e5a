import Glibc
import Logging

/// `status json`: the content of `status` as one JSON object in one line. Names never change; new ones may be added.
extension Master {
    func statusJSON() -> String {
        let now = kernel.now
        var line = LogLine()
        line.fields([
            "program": "\(program)", "pid": number(Int(getpid())), "generation": number(state.generation),
            "up_seconds": number(time(nil) - board.startedAt), "stopping": .stringConvertible(state.stopping),
            "draining": .array(drains.keys.sorted().map { "\($0)" }),
            "pools": .array(state.pools.map(json)),
            "workers": .array(workersInOrder.map { json($0, now) }),
            "numbers": .dictionary(numbers),
        ])
        return String(decoding: line.bytes, as: UTF8.self) + "\n"
    }

    private func number(_ value: Int) -> Logger.Metadata.Value { .stringConvertible(value) }

    private func json(_ pool: Pool) -> Logger.Metadata.Value {
        let name = pool.spec.name
        let live = pool.workers.map { board.row($0.row) }
        let ended = board.ended(pool: board.pools.firstIndex(of: name) ?? 0)
        func total(_ field: ScoreboardRow.Field) -> Logger.Metadata.Value {
            number(live.reduce(ended[field]) { $0 + $1[field] })
        }
        return [
            "name": "\(name)", "ready": number(pool.slots.count { $0.current?.phase == .ready }),
            "wanted": number(pool.wanted), "workers": number(pool.spec.workers),
            "max_workers": number(pool.spec.maxWorkers), "busy": number(live.count { $0.state == .busy }),
            "requests": total(.requests), "errors_4xx": total(.clientErrors), "errors_5xx": total(.serverErrors),
            "listen": .array(listeners(of: name).map { "\($0.name)" }),
        ]
    }

    private func json(_ worker: Worker, _ now: Nanoseconds) -> Logger.Metadata.Value {
        let row = board.row(worker.row)
        let since = row[.requestStartedAt]
        var values: Logger.Metadata = [
            "pool": "\(worker.pool)", "slot": number(worker.slot), "pid": number(Int(worker.pid)),
            "generation": number(worker.generation),
            "state": "\(state(of: worker, row, now))",
            "up_seconds": number(Int((now - worker.startedAt) / 1_000_000_000)), "requests": number(row[.requests]),
            "errors_4xx": number(row[.clientErrors]), "errors_5xx": number(row[.serverErrors]),
            "busy_seconds": seconds(row[.busyNanoseconds]), "cpu_seconds": seconds(row[.cpuNanoseconds]),
            "resident_bytes": number(row[.residentBytes]), "request": "\(row.request)",
        ]
        if since != 0 { values["request_seconds"] = seconds(max(0, Int(now) - since)) }
        return .dictionary(values)
    }

    private func seconds(_ nanoseconds: Int) -> Logger.Metadata.Value {
        .stringConvertible(Double(nanoseconds / 1000) / 1e6)
    }

    /// The program's own counters, summed over all workers; totals include ended workers.
    private var numbers: Logger.Metadata {
        var values: Logger.Metadata = [:]
        for (index, name) in board.counters.enumerated() {
            let ended = name.hasSuffix("_total") ? board.pools.indices.map { board.ended(pool: $0).counter(index) } : []
            values[name] = number((board.sum(of: name) ?? 0) + ended.reduce(0, +))
        }
        return values
    }
}
