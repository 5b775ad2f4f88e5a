import Glibc
import Logging

/// A drain of a pool's sockets: the order that its workers follow, and the state of the totals when it began.
struct Drained: Equatable {
    /// As the program's command line wrote it; the workers read it.
    var order: String
    /// Unix seconds.
    var since: Int
    var moved = 0
    var closed = 0
}

/// `drain POOL ORDER|stop|status` of the control socket. The order stays until it is stopped or this process ends: workers
/// that start meanwhile follow it too, also after a reload and after an upgrade of this process.
///
/// A pool that can be drained reports these numbers: `draining` (1 while it follows an order), `drain_left` (sockets),
/// `moved_total`, `drain_closed_total`.
extension Master {
    func drain(_ pool: String, _ order: String) -> String {
        guard let spec = state.pools.first(where: { $0.spec.name == pool && !$0.isLeaving })?.spec, spec.handover else {
            return "error: there is no pool \(pool) that has sockets to give away\n"
        }
        switch order {
        case "status": break
        case "stop": stopDrain(of: pool)
        default:
            guard !state.stopping else { return "error: \(program) is stopping\n" }
            begin(order, pool)
        }
        return drainStatus(pool)
    }

    private func begin(_ order: String, _ pool: String) {
        if drains[pool] == nil {
            drains[pool] = Drained(
                order: order, since: time(nil), moved: total("moved_total", of: pool),
                closed: total("drain_closed_total", of: pool))
            log.notice("pool \(pool) is drained: \(order)")
        } else {
            drains[pool]?.order = order
            log.notice("pool \(pool): the drain goes on in another way: \(order)")
        }
        tellWorkers(of: pool, "move-away \(order)")
    }

    private func stopDrain(of pool: String) {
        guard drains[pool] != nil else { return }
        log.notice("pool \(pool): the drain is stopped; \(drainStatus(pool).dropLast())")
        drains[pool] = nil
        tellWorkers(of: pool, "stay")
    }

    private func tellWorkers(of pool: String, _ text: String) {
        for worker in state.workers where worker.pool == pool { _ = channels[worker.id]?.send(text) }
    }

    /// One line. `ws-relay drain --wait` reads its first word.
    func drainStatus(_ pool: String) -> String {
        guard let drained = drains[pool] else { return "not draining: \(current("connections", of: pool)) sockets\n" }
        // In this order: a worker reports its sockets before it says that it follows the order. One that has not read the
        // order says nothing of it.
        let isFollowed = isFollowed(pool)
        let left = current("drain_left", of: pool)
        let moved = max(0, total("moved_total", of: pool) - drained.moved)
        let closed = max(0, total("drain_closed_total", of: pool) - drained.closed)
        let isOver = left == 0 && isFollowed
        return "\(isOver ? "drained" : "draining"): \(isOver ? "no sockets" : "\(left) sockets") left, \(moved) moved, "
            + "\(closed) closed (\(drained.order))\n"
    }

    private func isFollowed(_ pool: String) -> Bool {
        let rows = liveRows(of: pool)
        guard let index = board.counters.firstIndex(of: "draining") else { return false }
        return !rows.isEmpty && rows.allSatisfy { $0.counter(index) != 0 }
    }

    private func liveRows(of pool: String) -> [ScoreboardRow] {
        state.workers.filter { $0.pool == pool && $0.phase != .stopping }.map { board.row($0.row) }
    }

    private func current(_ name: String, of pool: String) -> Int {
        guard let index = board.counters.firstIndex(of: name) else { return 0 }
        return liveRows(of: pool).reduce(0) { $0 + $1.counter(index) }
    }

    private func total(_ name: String, of pool: String) -> Int {
        guard let index = board.counters.firstIndex(of: name) else { return 0 }
        let ended = board.ended(pool: board.pools.firstIndex(of: pool) ?? 0).counter(index)
        return state.workers.filter { $0.pool == pool }.reduce(ended) { $0 + board.row($1.row).counter(index) }
    }
}
