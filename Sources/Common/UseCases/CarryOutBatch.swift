extension RoomBatchStore {
    /// Loads, executes each command in order, stores: one transaction. Nothing has changed when it throws.
    ///
    /// - Parameter verdicts: the host application's decisions, by command id.
    /// - Returns: the batch, and for each command its outcome and its Seq (0: none).
    public func carryOut(
        _ commands: [Command], verdicts: [UUID128: Verdict] = [:], now: Int64
    ) throws(StoreError) -> (batch: RoomBatch, outcomes: [CommandOutcome], seqs: [Int64]) {
        // The second try loads what the other writer stored; the third allows for one more conflict in between.
        var triesLeft = 3
        while true {
            do throws(StoreError) {
                return try carryOutOnce(commands, verdicts, now)
            } catch {
                triesLeft -= 1
                guard error.isConflict, triesLeft > 0 else { throw error }
            }
        }
    }

    private func carryOutOnce(
        _ commands: [Command], _ verdicts: [UUID128: Verdict], _ now: Int64
    ) throws(StoreError) -> (batch: RoomBatch, outcomes: [CommandOutcome], seqs: [Int64]) {
        var batch = try load(for: commands, now: now)
        batch.verdicts = verdicts
        var seqs: [Int64] = []
        let outcomes = commands.map { command in
            let outcome = batch.carryOut(command)
            seqs.append(outcome.isInFrame ? Int64(batch.frames[command.room]?.last?.seq ?? 0) : 0)
            return outcome
        }
        try store(batch)
        return (batch, outcomes, seqs)
    }
}
