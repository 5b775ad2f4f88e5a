public import Logging

/// Loads, executes each command in order, stores: one transaction. Each run is safe to repeat.
public struct ExecuteBatch {
    public let store: any RoomBatchStore
    private let check: (any MessageCheck)?
    private let limits: RoomSettings
    public let clock: Clock
    private let log: Logger

    /// - Parameter check: the host application's decisions; nil: it is not asked.
    public init(
        store: any RoomBatchStore, check: (any MessageCheck)? = nil, limits: RoomSettings, clock: @escaping Clock,
        log: Logger
    ) {
        self.store = store
        self.check = check
        self.limits = limits
        self.clock = clock
        self.log = log
    }

    /// Nothing has changed when it throws.
    public func together(_ commands: [Command]) throws(StoreError) -> ExecutedBatch {
        // Ask before the rooms are locked: other writers need not wait for the host application.
        let verdicts = check?.judge(commands) ?? [:]
        let now = clock()
        // The second try loads what the other writer stored; the third allows for one more conflict in between.
        var triesLeft = 3
        while true {
            do throws(StoreError) {
                return try once(commands, verdicts, now)
            } catch {
                triesLeft -= 1
                guard error.isConflict, triesLeft > 0 else { throw error }
            }
        }
    }

    private func once(
        _ commands: [Command], _ verdicts: [UUID128: Verdict], _ now: Int64
    ) throws(StoreError) -> ExecutedBatch {
        var batch = try store.load(for: commands, now: now)
        batch.verdicts = verdicts
        var seqs: [Int64] = []
        let outcomes = commands.map { command in
            let outcome = batch.carryOut(command)
            seqs.append(outcome.isInFrame ? Int64(batch.frames[command.room]?.last?.seq ?? 0) : 0)
            return outcome
        }
        try store.store(batch)
        let position = try store.position()
        return ExecutedBatch(batch: batch, outcomes: outcomes, seqs: seqs, storedAt: clock(), position: position)
    }

    /// When the store refuses the batch because of its content, each command is tried alone, in order. The command at
    /// fault is answered `internal` and logged; the others are executed.
    public func oneByOne(_ commands: [Command]) throws(StoreError) -> [ExecutedBatch] {
        var all: [ExecutedBatch] = []
        for command in commands {
            do throws(StoreError) {
                all.append(try together([command]))
            } catch {
                store.abandon()
                guard !error.isTransient else { throw error }
                var details: Logger.Metadata = [
                    "command": "\(command.id)", "room": "\(command.room)", "error": "\(error)",
                ]
                if let request = command.requestID { details["request"] = "\(request)" }
                log.error("a command cannot be stored", metadata: details)
                all.append(refused(command))
            }
        }
        return all
    }

    /// The answer and the trail of a command that was given up.
    public func refused(_ command: Command) -> ExecutedBatch {
        let refusal = Refusal(.internalError, "the request cannot be carried out; it is logged as \(command.id)")
        let outcome = CommandOutcome(
            command: command, answer: FrameBody(refusal), isInFrame: false, refusal: .internalError)
        let now = clock()
        return ExecutedBatch(batch: RoomBatch(limits: limits, now: now), outcomes: [outcome], seqs: [0], storedAt: now)
    }
}

public struct ExecutedBatch {
    public var batch: RoomBatch
    public var outcomes: [CommandOutcome]
    /// The Seq of each outcome; 0: none.
    public var seqs: [Int64]
    /// The time of the commit in Unix milliseconds.
    public var storedAt: Int64
    /// See ``RoomBatchStore/position()``.
    public var position: Int64?
}
