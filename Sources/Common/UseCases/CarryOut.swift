/// The result of one command.
public struct CommandOutcome: Sendable, Equatable {
    public var command: Command
    /// The answer for the sender.
    public var answer: FrameBody
    /// True when a frame of the room carries the answer to the asking socket; otherwise `relay:{id}` does.
    public var isInFrame: Bool
    /// The refusal's code, for the counters.
    public var refusal: ErrorCode?

    public init(command: Command, answer: FrameBody, isInFrame: Bool, refusal: ErrorCode? = nil) {
        self.command = command
        self.answer = answer
        self.isInFrame = isInFrame
        self.refusal = refusal
    }
}

extension RoomBatch {
    /// Executes one command. A refusal changes nothing.
    public mutating func carryOut(_ command: Command) -> CommandOutcome {
        do throws(Refusal) {
            if let frames = done[command.id], let first = frames.first {
                return repeated(frames, answer: answerAgain(first, command), command)
            }
            names.merge(command.names) { first, _ in first }
            switch command.action {
            case .send(let draft, let receiver): return try sendMessage(draft, receiver: receiver, command)
            case .seen(let seq): return try markSeen(upTo: seq, command)
            case .edit(let message, let content, let base, let metadata):
                return try editMessage(message, content: content, base: base, metadata, command)
            case .delete(let message): return try deleteMessage(message, command)
            case .react(let message, let reaction, let remove):
                return try react(to: message, with: reaction, remove: remove, command)
            case .createRoom(let draft): return try createRoom(draft, command)
            case .updateRoom(let patch): return try updateRoom(patch, command)
            case .deleteRoom: return try deleteRoom(command)
            case .addMembers(let users): return try addMembers(users, command)
            case .removeMember(let user): return try removeMember(user, command)
            case .setRole(let user, let role): return try setRole(role, of: user, command)
            case .mute(let user, let until): return try mute(user, until: until, command)
            case .ban(let user, let banned): return try ban(user, banned, command)
            case .completeFile(let message, let file): return try completeFile(message, file: file, command)
            case .describeFile(let message, let file): return try describeFile(message, file: file, command)
            case .abandonFile(let message): return try abandonFile(message, command)
            case .pin(let message, let pinned): return try pin(message, pinned, command)
            case .createInvitation(let draft): return try createInvitation(draft, command)
            case .revokeInvitation(let id): return try revokeInvitation(id, command)
            case .join(let invitation): return try join(by: invitation, command)
            case .messageMetadata(let message, let patch): return try change(metadata: patch, of: message, command)
            case .memberMetadata(let user, let patch): return try change(metadata: patch, ofMember: user, command)
            case .announce(let content): return try announce(content, command)
            case .erase(let user): return try erase(user, command)
            case .purge(let before): return try purge(before: before, command)
            }
        } catch {
            return CommandOutcome(command: command, answer: FrameBody(error), isInFrame: false, refusal: error.code)
        }
    }

    /// Repeats a redelivered command's frames and answer. The first execution may have died anywhere between storing
    /// and publishing, so everything is published again; relays drop the frames that they have.
    mutating func repeated(_ frames: [RoomFrame], answer: FrameBody, _ command: Command) -> CommandOutcome {
        for var frame in frames {
            if let first = frames.first, first.seq == frame.seq {
                frame.origin = origin(command)
                frame.sign = command.sign
            }
            tell(command.room, frame)
            for user in frame.joined { tell(user: user, .joined(room: command.room, seq: frame.seq - 1, created: nil)) }
        }
        switch command.action {
        case .delete, .abandonFile, .deleteRoom, .erase, .purge: wipeLog(of: command.room)
        default: break
        }
        return CommandOutcome(command: command, answer: answer, isInFrame: true)
    }

    /// Usually the command's first frame; an invitation needs another answer, since its frame omits the token.
    private func answerAgain(_ first: RoomFrame, _ command: Command) -> FrameBody {
        let id =
            switch command.action {
            case .createInvitation: command.id
            case .revokeInvitation(let id): id
            default: UUID128.zero
            }
        return invitations[id].map { invitation in FrameBody { invitation.write(to: &$0) } } ?? first.body
    }

    func origin(_ command: Command) -> SocketAddress? {
        guard case .socket(let address) = command.origin else { return nil }
        return address
    }

    func answered(_ body: FrameBody, _ command: Command, inFrame: Bool) -> CommandOutcome {
        CommandOutcome(command: command, answer: body, isInFrame: inFrame)
    }
}
