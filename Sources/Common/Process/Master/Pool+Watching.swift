import ChatCore
import Logging

extension Pool {
    /// Applies the limits of one worker.
    mutating func watch(_ worker: Worker, _ seen: Observation, _ turn: inout Turn) {
        func isOver(_ limit: Duration?, since: Nanoseconds?) -> Bool {
            guard let limit, let since else { return false }
            return turn.now - since > limit.nanoseconds
        }
        if let limit = spec.timeLimit, isOver(limit, since: seen.busySince) {
            turn.log(.error, "\(worker.name) killed: over the time limit of \(limit) in \(seen.request)")
            turn.add(.kill(worker: worker.id))
        }
        if isOver(spec.slowAfter, since: seen.busySince), worker.phase == .ready, worker.askedStack != seen.busySince {
            update(worker.id) { $0.askedStack = seen.busySince }
            turn.add(.askStack(worker: worker.id))
        }
        if let limit = spec.frozenLimit, isOver(limit, since: seen.frozenSince) {
            turn.log(.error, "\(worker.name) killed: stopped by a signal for more than \(limit)")
            turn.add(.kill(worker: worker.id))
        }
        if let limit = spec.hangLimit?.nanoseconds { watch(worker, seen, hangLimit: limit, &turn) }
        if let limit = spec.memoryLimit, seen.residentBytes > limit, worker.phase == .ready, worker.renewal == nil {
            let reason = "\(seen.residentBytes >> 20) MiB are over the memory limit of \(limit >> 20) MiB"
            turn.log(.notice, "\(worker.name) will be replaced: \(reason)")
            update(worker.id) { $0.renewal = reason }
        }
    }

    /// A hanging worker is asked for its stack (in the log) and killed a second later, unless the stack dump has ended
    /// it.
    private mutating func watch(
        _ worker: Worker, _ seen: Observation, hangLimit limit: Nanoseconds, _ turn: inout Turn
    ) {
        let now = turn.now
        guard worker.phase == .ready, let since = seen.silentSince, now - since > limit,
            !spec.waits || seen.burnt > limit / 2 || (now - since) / 10 > limit
        else { return update(worker.id) { $0.askedWhere = nil } }
        guard let asked = worker.askedWhere else {
            let silence = "no sign of life for \((now - since) / 1_000_000_000) s"
            let burnt = "\(seen.burnt / 1_000_000_000) s of processor time in it"
            turn.log(.error, "\(worker.name) hangs: \(silence), \(burnt); asked for its stack")
            turn.add(.askWhere(worker: worker.id))
            return update(worker.id) { $0.askedWhere = now }
        }
        guard now - asked >= 1_000_000_000 else { return }
        turn.log(.error, "\(worker.name) killed: it hangs and did not report its stack")
        turn.add(.kill(worker: worker.id))
    }
}
