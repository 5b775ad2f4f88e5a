public import ChatCore
public import Logging

/// Asks the host application over HTTP. One signed request covers a batch: a slow host costs the batch one timeout, not
/// one for each message.
///
/// It gets `{"Event": "message.check", "Messages": [{ID, Kind: send·edit, RoomID, SenderID, Content, …}]}` and answers
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
        let asked = commands.compactMap { Question($0) }
        guard !asked.isEmpty else { return [:] }
        do throws(HTTPTransfer.Failure) {
            return try ask(asked)
        } catch {
            log.warning("the message check failed", metadata: ["error": "\(error.description)"])
            guard settings.refusesUnchecked else { return [:] }
            return Dictionary(asked.map { ($0.command.id, .unavailable) }) { first, _ in first }
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
            let question = asked.first(where: { $0.command.id == id }), let action = value["Action"]?.string
        else { throw wrong }
        switch action {
        case "allow": break
        case "reject": found[id] = .reject(reason: String((value["Reason"]?.string ?? "not allowed here").prefix(200)))
        case "rewrite":
            guard let content = try? RequestFields(value).content(of: question.contentType) else { throw wrong }
            found[id] = .rewrite(content: content)
        default: throw wrong
        }
    }
}

/// A command with content to check.
private struct Question: WireShape {
    let command: Command
    let content: String
    var contentType = ContentType.text
    private var kind = "edit"
    private var metadata: WireValue?
    private var message: UUID128

    init?(_ command: Command) {
        self.command = command
        switch command.action {
        // Forwarded content was checked when it was first sent.
        case .send(let draft, _) where draft.messageType != .forwarded:
            (content, contentType, kind, message) = (draft.content, draft.contentType, "send", command.id)
            metadata = draft.metadata?.value
        case .edit(let id, let text, _, let patch): (content, message, metadata) = (text, id, patch?.value)
        default: return nil
        }
    }

    func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("ID", command.id)
            $0.field("Kind", kind)
            $0.field("MessageID", message)
            $0.field("RoomID", command.room)
            $0.field("SenderID", command.actor)
            $0.field("ContentType", contentType.name)
            $0.field("Content", content)
            if let metadata { $0.field("Metadata", metadata) }
        }
    }
}
