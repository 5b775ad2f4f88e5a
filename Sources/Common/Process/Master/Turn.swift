import Logging

/// One call of ``MasterState/handle(_:at:)``, as the rules of all pools share it.
struct Turn {
    let now: Nanoseconds
    /// Rows of the scoreboard.
    let rows: Int
    /// The generation of the workers that start from now on.
    var generation: Int
    /// The id of the next worker.
    var nextID: Int
    var usedRows: Set<Int> = []
    private(set) var actions: [MasterAction] = []

    init(now: Nanoseconds, rows: Int, generation: Int, nextID: Int) {
        (self.now, self.rows, self.generation, self.nextID) = (now, rows, generation, nextID)
    }

    mutating func add(_ action: MasterAction) { actions.append(action) }

    mutating func log(_ level: Logger.Level, _ text: String) { actions.append(.log(level, text)) }

    /// A new worker with a row of its own; nil: the scoreboard is full.
    mutating func newWorker(pool: String, slot: Int) -> Worker? {
        guard let row = (0..<rows).first(where: { !usedRows.contains($0) }) else { return nil }
        usedRows.insert(row)
        defer { nextID += 1 }
        return Worker(id: nextID, pool: pool, slot: slot, generation: generation, row: row, startedAt: now)
    }
}
