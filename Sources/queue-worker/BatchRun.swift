import ChatCore
import Glibc
import Logging

/// Steps of one batch: execute, store, publish, answer. Each step is safe to repeat.
struct BatchRun {
    let store: any RoomBatchStore
    var check: (any MessageCheck)?
    let limits: RoomSettings
    let clock: Clock
    let log: Logger

    /// Loads, executes each command in order, stores: one transaction. Nothing has changed when it throws.
    func carryOut(_ commands: [Command]) throws(StoreError) -> Stored {
        // Ask before the rooms are locked: other writers need not wait for the host application.
        let verdicts = check?.judge(commands) ?? [:]
        let (batch, outcomes, seqs) = try store.carryOut(commands, verdicts: verdicts, now: clock())
        return Stored(batch: batch, outcomes: outcomes, seqs: seqs, storedAt: clock())
    }

    /// When the store refuses the batch because of its content, each command is tried alone, in order. The one at fault
    /// is answered `internal` and logged; the others are executed.
    func carryOutOneByOne(_ commands: [Command]) throws(StoreError) -> [Stored] {
        var all: [Stored] = []
        for command in commands {
            do throws(StoreError) {
                all.append(try carryOut([command]))
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
    func refused(_ command: Command) -> Stored {
        let refusal = Refusal(.internalError, "the request cannot be carried out; it is logged as \(command.id)")
        let outcome = CommandOutcome(
            command: command, answer: FrameBody(refusal), isInFrame: false, refusal: .internalError)
        let now = clock()
        return Stored(batch: RoomBatch(limits: limits, now: now), outcomes: [outcome], seqs: [0], storedAt: now)
    }

    struct Stored {
        var batch: RoomBatch
        var outcomes: [CommandOutcome]
        /// The Seq of each outcome; 0: none.
        var seqs: [Int64]
        /// The time of the commit in Unix milliseconds.
        var storedAt: Int64

        private var trail: TrailStep {
            let entries = zip(outcomes, seqs).filter { !$0.0.command.isProbe }.map { outcome, seq in
                let command = outcome.command
                return TrailStep.Entry(
                    id: command.id, room: command.room, seq: seq, acceptedAt: command.acceptedAt,
                    requestID: command.requestID, what: command.action.kind.name, refusal: outcome.refusal?.rawValue)
            }
            return .stored(
                .init(process: Int64(getpid()), takenAt: batch.now, storedAt: storedAt, commands: entries))
        }

        /// Jobs for the push workers: rooms with new messages, read marks, and deleted messages.
        var pushJobs: [PushJob] {
            var jobs: [PushJob] = []
            for (room, frames) in batch.frames {
                guard let last = frames.last(where: { $0.kind == .newMessage }) else { continue }
                jobs.append(.messages(room: room, seq: Int64(last.seq), at: batch.now))
            }
            for outcome in outcomes where outcome.refusal == nil {
                guard case .seen = outcome.command.action else { continue }
                let key = RoomBatch.MemberKey(outcome.command.room, outcome.command.actor)
                guard let seq = batch.members[key]?.lastSeenSeq else { continue }
                jobs.append(.seen(room: key.room, user: key.user, seq: seq))
            }
            for message in batch.deletedMessages {
                jobs.append(.deleted(room: message.roomID, message: message.id, seq: message.seq))
            }
            return jobs
        }

        /// Frames, events and answers for the relays.
        var notice: Notice {
            var notice = Notice(userEvents: batch.userEvents, wiped: batch.wiped)
            notice.trail = outcomes.allSatisfy(\.command.isProbe) ? nil : trail
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
