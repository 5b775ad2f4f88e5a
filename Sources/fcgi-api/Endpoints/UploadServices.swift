import ChatCore
import Logging

/// The common steps of all file endpoints: check ownership, tell the room, report the progress.
struct UploadServices {
    let services: EndpointServices
    let upload: UploadFile
    let objects: any ObjectStore
    /// For links, and for redirects within our origin.
    let web: WebSettings
    /// The folder for a request's file while it is read.
    let folder: String

    static let nothingToUpload = Refusal(.conflict, "the message has no file to upload")

    /// The message, if it belongs to the asking user.
    func liveMessage(of call: Call) throws(Refusal) -> Message {
        let message = try messageOfSender(call)
        guard message.status != .deleted else { throw Refusal(.gone, "the message was deleted") }
        return message
    }

    /// The same, including a deleted message.
    func messageOfSender(_ call: Call) throws(Refusal) -> Message {
        if !call.isCounted { try services.limit(.uploads, call) }
        let message = try services.newest(try call.uuid("id"), call)
        guard message.senderID == call.user else { throw .messageNotFound }
        guard message.contentType != .text, message.forwardedFrom == nil else { throw UploadServices.nothingToUpload }
        return message
    }

    /// Stores a chunk, and announces the file when it is complete.
    func take(_ chunk: Chunk, of message: Message, _ call: Call) throws(Refusal) -> UploadFile.Result<SubmitOutcome> {
        try withdrawing(message, call) { () throws(Refusal) in
            try upload.store(chunk, of: message) { file throws(Refusal) in try finish(message, file, call) }
        }
    }

    func resume(_ message: Message, _ call: Call) throws(Refusal) -> UploadFile.Result<SubmitOutcome>? {
        try withdrawing(message, call) { () throws(Refusal) in
            try upload.resume(message) { file throws(Refusal) in try finish(message, file, call) }
        }
    }

    /// A quarantined file's message is never announced.
    private func withdrawing<T>(
        _ message: Message, _ call: Call, _ body: () throws(Refusal) -> T
    ) throws(Refusal) -> T {
        do throws(Refusal) { return try body() } catch {
            if error.code == .infected {
                _ = try services.submit(call, room: message.roomID, .abandonFile(message: message.id))
            }
            throw error
        }
    }

    /// For requests that cannot be continued: a refusal removes the message and its parts, and frees its Sign. With
    /// `isKept`, an upload that may succeed on a retry stays.
    func leavingNothing<T>(
        of message: Message, isKept: Bool, _ call: Call, _ body: () throws(Refusal) -> T
    ) throws(Refusal) -> T {
        do throws(Refusal) { return try body() } catch {
            let mayGoOn = error.retryAfter != nil || [.internalError, .locked, .checksumMismatch].contains(error.code)
            if !(mayGoOn && isKept) { withdraw(message, call) }
            throw error
        }
    }

    /// The sweeper repeats a step that fails here.
    func withdraw(_ message: Message, _ call: Call) {
        do throws(Refusal) {
            let outcome = try services.submit(call, room: message.roomID, .abandonFile(message: message.id))
            // A message that was completed meanwhile stays with its file.
            guard case .done(let data) = outcome, data["Status"]?.string == MessageStatus.deleted.name else { return }
            try upload.abort(message)
        } catch {
            services.log.notice(
                "a refused upload will be removed by the sweeper",
                metadata: ["message": "\(message.id)", "error": "\(error.text)"])
        }
    }

    /// Logs an error whose answer tells the client less.
    func noted(_ error: Refusal) -> Refusal {
        if error.code == .unavailable { services.log.error("an upload failed", metadata: ["error": "\(error.text)"]) }
        return error
    }

    private func finish(_ message: Message, _ file: FileInfo, _ call: Call) throws(Refusal) -> SubmitOutcome {
        let outcome = try services.submit(
            call, room: message.roomID, .completeFile(message: message.id, file: file))
        // A queued outcome keeps the upload open: a repeated request tells the room again, which has an effect only
        // once.
        if case .done = outcome { upload.forget(message.id) }
        return outcome
    }

    /// Sends the message of a file whose bytes follow.
    func send(
        _ draft: MessageDraft, to room: UUID128, sign: String?, _ call: Call
    ) throws(Refusal) -> Message {
        let sent = try services.submit(call, room: room, sign: sign, .send(draft, receiver: nil))
        guard case .done(let data) = sent, let id = data["ID"]?.string.flatMap({ UUID128($0) }) else {
            // The message is safe in its queue, but the file cannot be added yet. A retry with the same Sign continues.
            throw .busy("the room is slow to answer")
        }
        return try services.newest(id, call)
    }

    /// - Parameters:
    ///   - total: the number of chunks; nil: the number with which the upload began.
    ///   - index: of the answered chunk.
    func answer(
        _ result: UploadFile.Result<SubmitOutcome>, _ message: Message, _ call: Call, total: Int? = nil,
        index: Int? = nil
    ) throws(Refusal) -> Response {
        switch result {
        case .stored(let state):
            return .data {
                UploadProgressBody(
                    message: message.id, index: index, total: state.total, received: state.received, size: state.size
                ).write(to: &$0)
            }
        case .completed(.queued):
            let total = try self.total(message, told: total)
            return .data(status: 202) {
                UploadProgressBody(
                    message: message.id, index: index, total: total, received: Array(1...total), isCompleted: true
                ).write(to: &$0)
            }
        case .completed(.done), .alreadyCompleted:
            let message = try services.newest(message.id, call)
            let total = try self.total(message, told: total)
            return .data {
                UploadProgressBody(
                    message: message.id, index: index, total: total, received: Array(1...total),
                    size: message.file?.size, isCompleted: true, complete: message
                ).write(to: &$0)
            }
        }
    }

    private func total(_ message: Message, told: Int?) throws(Refusal) -> Int {
        if let told { return told }
        return try upload.record(of: message)?.total ?? 1
    }
}

/// The progress of an upload in the clients' format.
struct UploadProgressBody {
    var message: UUID128
    /// Only in the answer to a chunk.
    var index: Int?
    var total: Int?
    var received: [Int]
    var size: Int64?
    var isCompleted = false
    /// The announced message, when the file is complete.
    var complete: Message?

    func write(to writer: inout JSONWriter) {
        writer.map {
            $0.field("MessageID", message)
            $0.field("ChunkIndex", ifAny: index)
            $0.field("TotalChunk", total)
            $0.array("Received", received) { $0.int(Int64($1)) }
            $0.field("Size", size)
            $0.field("Completed", isCompleted)
            $0.field("Message", ifAny: complete)
        }
    }
}
