import ChatCore
import Glibc

/// Everything that others are told about a stored batch.
extension ExecutedBatch {
    private var trail: TrailStep {
        let entries = zip(outcomes, seqs).filter { !$0.0.command.isProbe }.map { outcome, seq in
            let command = outcome.command
            return TrailStep.StoredCommand(
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

    /// The users and rooms whose later reads must include this batch: the authors, users who joined or left, and the
    /// rooms.
    private var written: Written? {
        position.map { position in
            let others = batch.frames.values.joined().flatMap { $0.joined + $0.left }
            return Written(
                position: position, users: Set(outcomes.map(\.command.actor)).union(others),
                rooms: Set(batch.frames.keys))
        }
    }

    /// Frames, events and answers for the relays.
    var notice: Notice {
        var notice = Notice(userEvents: batch.userEvents, wiped: batch.wiped)
        notice.written = written
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
