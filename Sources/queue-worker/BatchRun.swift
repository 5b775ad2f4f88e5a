import ChatCore
import Logging

/// A batch on its way: carried out, stored, told, answered. Each step can be tried again without harm.
struct BatchRun {
    let store: any RoomBatchStore
    var check: (any MessageCheck)?
    let limits: RoomSettings
    let clock: Clock
    let log: Logger

    /// Loads, lets each command act in order, stores. One transaction; nothing has happened when it throws.
    func carryOut(_ commands: [Command]) throws(StoreError) -> Stored {
        // Before the rooms are locked: others need not wait for the host application.
        let verdicts = check?.judge(commands) ?? [:]
        var batch = try store.load(for: commands, now: clock())
        batch.verdicts = verdicts
        let outcomes = commands.map { batch.carryOut($0) }
        try store.store(batch)
        return Stored(batch: batch, outcomes: outcomes)
    }

    /// When the store refuses the batch for a fault of its own content, each command is tried alone, in order; the one
    /// at fault is answered `internal` and logged, the others are carried out.
    func carryOutOneByOne(_ commands: [Command]) throws(StoreError) -> [Stored] {
        var all: [Stored] = []
        for command in commands {
            do throws(StoreError) {
                all.append(try carryOut([command]))
            } catch {
                store.abandon()
                guard !error.isTransient else { throw error }
                log.error(
                    "a command cannot be stored",
                    metadata: ["command": "\(command.id)", "room": "\(command.room)", "error": "\(error)"])
                let refusal = Refusal(.internalError, "the request cannot be stored; it is logged as \(command.id)")
                let outcome = CommandOutcome(
                    command: command, answer: FrameBody(refusal), isInFrame: false, refusal: .internalError)
                all.append(Stored(batch: RoomBatch(limits: limits, now: clock()), outcomes: [outcome]))
            }
        }
        return all
    }

    struct Stored {
        var batch: RoomBatch
        var outcomes: [CommandOutcome]

        /// What the relays are told.
        var notice: Notice {
            var notice = Notice(userEvents: batch.userEvents, wiped: batch.wiped)
            for (room, frames) in batch.frames.sorted(by: { $0.key < $1.key }) {
                notice.frames.append(FrameChunk(room: room, frames: frames))
            }
            for outcome in outcomes where !outcome.isInFrame {
                guard case .socket(let address) = outcome.command.origin else { continue }
                let frame = outcome.answer.frame(.response, sign: outcome.command.sign)
                notice.answers.append((address.relay, RelayAnswer(socket: address.socket, frame: frame)))
            }
            return notice
        }
    }
}
