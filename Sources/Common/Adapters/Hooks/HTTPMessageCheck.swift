public import ChatCore
public import Logging

/// Asks the host application over HTTP. One signed request covers a batch: a slow host costs the batch one timeout, not
/// one for each message.
///
/// It gets `{"Event": "message.check", "Messages": [{ID, Kind: send·edit·upload·join·create, RoomID, SenderID, …}]}` and
/// answers
/// `{"Verdicts": [{"ID", "Action": allow·reject·rewrite, "Reason"?, "Content"?}]}`.
public final class HTTPMessageCheck: MessageCheck {
    private let client: HookClient
    private let settings: HookSettings
    private let log: Logger

    public init(_ settings: HookSettings, log: Logger) {
        client = HookClient(settings)
        self.settings = settings
        self.log = log
    }

    public func judge(_ commands: [Command]) -> [UUID128: Verdict] {
        var asked: [Question] = []
        for question in commands.flatMap({ Question.all(about: $0, settings.checkedActs) })
        // The first messages of a pair ask once about their room.
        where !(question.isOfRoom && asked.contains { $0.id == question.id }) { asked.append(question) }
        guard !asked.isEmpty else { return [:] }
        do throws(HTTPTransfer.Failure) {
            return try ask(asked)
        } catch {
            log.warning("the message check failed", metadata: ["error": "\(error.description)"])
            guard settings.refusesUnchecked else { return [:] }
            return Dictionary(asked.map { ($0.id, .unavailable) }) { first, _ in first }
        }
    }

    private func ask(_ asked: [Question]) throws(HTTPTransfer.Failure) -> [UUID128: Verdict] {
        var writer = JSONWriter(reserving: 512 * asked.count)
        writer.map {
            $0.field("Event", "message.check")
            $0.field("Messages", asked)
        }
        let answer = try client.post(writer.take(), to: settings.checkURL, [], settings.checkTimeout).get()
        guard answer.status == 200, let value = try? JSONReader.decode(answer.body),
            let verdicts = value["Verdicts"]?.array
        else { throw HTTPTransfer.Failure(description: "it sent no Verdicts: \(answer.summary)") }
        var found: [UUID128: Verdict] = [:]
        for verdict in verdicts { try note(verdict, asked, &found) }
        return found
    }

    /// Ignores a verdict that makes no sense.
    private func note(
        _ value: WireValue, _ asked: [Question], _ found: inout [UUID128: Verdict]
    ) throws(HTTPTransfer.Failure) {
        let wrong = HTTPTransfer.Failure(description: "it answered with a verdict that cannot be read")
        guard let id = value["ID"]?.string.flatMap({ UUID128($0) }),
            let question = asked.first(where: { $0.id == id }), let action = value["Action"]?.string
        else { throw wrong }
        switch action {
        case "allow": break
        case "reject": found[id] = .reject(reason: String((value["Reason"]?.string ?? "not allowed here").prefix(200)))
        case "rewrite":
            guard let type = question.contentType, let content = try? RequestFields(value).content(of: type) else {
                throw wrong
            }
            found[id] = .rewrite(content: content)
        default: throw wrong
        }
    }
}

/// An act to decide about.
private struct Question: WireShape {
    let command: Command
    let kind: String
    /// The command's, or that of a room which a message opens.
    var id: UUID128
    /// Nil: there is no content that could be rewritten.
    var contentType: ContentType?
    private var message: UUID128?
    private var content: String?
    private var metadata: WireValue?
    private var invitation: UUID128?
    private var room: RoomDraft?
    private var members: [UUID128]?

    var isOfRoom: Bool { room != nil }

    private init(_ command: Command, _ kind: String) {
        (self.command, self.kind, id) = (command, kind, command.id)
    }

    /// Acts of the host itself are not asked about, except messages.
    static func all(about command: Command, _ acts: Set<CheckedAct>) -> [Question] {
        let others = command.isHost ? acts.intersection([.message]) : acts
        switch command.action {
        // Forwarded content was checked when it was first sent.
        case .send(let draft, let receiver):
            let room = others.contains(.create) ? receiver.map { Question(command, opening: $0) } : nil
            let message = draft.messageType == .forwarded ? nil : Question(command, draft, others)
            return [room, message].compactMap { $0 }
        case .edit(let id, let text, _, let patch) where acts.contains(.message):
            var question = Question(command, "edit")
            (question.message, question.content, question.contentType) = (id, text, .text)
            question.metadata = patch?.value
            return [question]
        case .createRoom(let draft) where others.contains(.create): return [Question(command, draft)]
        case .join(let invitation) where others.contains(.join):
            var question = Question(command, "join")
            question.invitation = invitation
            return [question]
        case .addMembers(let users) where others.contains(.join):
            var question = Question(command, "join")
            question.members = users
            return [question]
        default: return []
        }
    }

    private init?(_ command: Command, _ draft: MessageDraft, _ acts: Set<CheckedAct>) {
        let isUpload = draft.contentType != .text && acts.contains(.upload)
        guard isUpload || acts.contains(.message) else { return nil }
        self.init(command, isUpload ? "upload" : "send")
        (message, content, contentType, metadata) = (
            command.id, draft.content, draft.contentType, draft.metadata?.value
        )
    }

    private init(_ command: Command, _ draft: RoomDraft) {
        self.init(command, "create")
        (room, members, metadata) = (draft, draft.members, draft.metadata?.value)
    }

    /// Whether the room exists is not known yet: nothing is locked.
    private init(_ command: Command, opening receiver: UUID128) {
        self.init(command, RoomDraft(type: .privateRoom, members: [receiver]))
        id = command.room
    }

    func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("ID", id)
            $0.field("Kind", kind)
            if let message { $0.field("MessageID", message) }
            $0.field("RoomID", command.room)
            $0.field("SenderID", command.actor)
            if let contentType { $0.field("ContentType", contentType.name) }
            if let content { $0.field("Content", content) }
            if let room {
                $0.field("Type", room.type.name)
                $0.field("Name", room.name)
                $0.field("Description", room.description)
            }
            if let invitation { $0.field("InvitationID", invitation) }
            if let members {
                $0.array("Members", members) { writer, user in
                    writer.map {
                        $0.field("UserID", user)
                        $0.field("ExternalID", command.names[user])
                    }
                }
            }
            if let metadata { $0.field("Metadata", metadata) }
        }
    }
}
