import ChatCore

/// Whole files from a plain HTML form without JavaScript.
struct WholeFileEndpoints {
    let uploads: UploadServices

    /// Bytes of one part of a whole file.
    static let partBytes: Int64 = 8 << 20

    func add(to router: inout Router) {
        // Open: the token may be a field of the form.
        router.on("POST", "/rooms/{id}/files", open: true) { call throws(Refusal) in page(call) }
    }

    /// A browser gets a page or a redirect, every other client the JSON of a send.
    private func page(_ call: Call) -> Response {
        let isBrowser =
            call.request.header("accept").map { asciiLowercased($0).utf8.firstRange(of: "text/html".utf8) != nil }
            == true
        do throws(Refusal) {
            // A header is checked before a file is read.
            if call.request.header("authorization") != nil { _ = try uploads.services.user(call) }
            let form = try UploadForm(
                call.request, maxFile: uploads.upload.rules.maxSize, folder: uploads.folder, many: true)
            _ = try uploads.services.authentication.user(call, form: form["token"], web: uploads.web)
            try uploads.services.limit(.uploads, call)
            let target = try target(form)
            let response = try sendAll(form, call)
            guard isBrowser else { return response }
            var seeOther = Response(status: 303)
            seeOther.headers = [("Location", target)]
            return seeOther
        } catch {
            _ = uploads.noted(error)
            let refusal = Response.refusal(error, requestID: call.requestID)
            return isBrowser ? .page(error, like: refusal, call) : refusal
        }
    }

    /// The page to which the browser goes. It is checked before anything is stored: it becomes a header, and the web
    /// server refuses an answer with a header that is too long.
    private func target(_ form: UploadForm) throws(Refusal) -> String {
        guard let wanted = form["Redirect"] else { return "/" }
        let target = SameOrigin.path(wanted, publicURL: uploads.web.publicURL) ?? "/"
        guard max(wanted.utf8.count, target.utf8.count) <= RequestLimit.redirect else {
            throw .invalid("Redirect", "has more than \(RequestLimit.redirect) bytes")
        }
        return target
    }

    /// Answers one file with its message, several with a list.
    private func sendAll(_ form: UploadForm, _ call: Call) throws(Refusal) -> Response {
        let room = try call.uuid("id")
        let sign = try call.sign(RequestFields(.map([.init("Sign", form["Sign"].map { .string($0) } ?? .null)])))
        // Check all files first: when one is refused, none is sent.
        for file in form.files {
            let (name, type) = Self.nameAndType(file)
            let whole = Chunk(index: 1, total: 1, bytes: file.content.part(), mediaType: type)
            try uploads.upload.check(whole, as: type.contentType, name: name)
        }
        var sent: [Message] = []
        for (index, file) in form.files.enumerated() {
            // Each message needs its own Sign, so that the whole form can be sent again.
            let own = index == 0 ? sign : sign.map { "\($0)#\(index + 1)" }
            if let own { try RequestFields.check(sign: own, field: "Sign") }
            switch try send(file, to: room, sign: own, call) {
            case .sent(let message): sent.append(message)
            case .queued(let outcome): return outcome.response()
            }
        }
        if sent.count == 1 { return .data(status: 201) { sent[0].write(to: &$0) } }
        return .data(status: 201) { $0.array(sent) { $1.write(to: &$0) } }
    }

    private enum Sent {
        case sent(Message)
        /// Complete, but the room was not told in time.
        case queued(SubmitOutcome)
    }

    private func send(
        _ file: UploadedFile, to room: UUID128, sign: String?, _ call: Call
    ) throws(Refusal) -> Sent {
        let (name, type) = Self.nameAndType(file)
        let draft = MessageDraft(content: name, contentType: type.contentType)
        var message: Message
        do throws(Refusal) { message = try uploads.send(draft, to: room, sign: sign, call) } catch {
            // The Sign of a page without JavaScript cannot change: an upload that never completed is replaced.
            guard error.code == .idempotencyMismatch, let sign,
                let left = try uploads.services.pending(sign, in: room, call)
            else { throw error }
            uploads.withdraw(left, call)
            message = try uploads.send(draft, to: room, sign: sign, call)
        }
        // Left by a form that was cut off, and this is another file.
        if message.status == .uploading, try isOfAnother(file, message, draft) {
            uploads.withdraw(message, call)
            message = try uploads.send(draft, to: room, sign: sign, call)
        }
        guard message.status == .uploading else {
            guard message.contentType != .text else {
                throw Refusal(.conflict, "this Sign belongs to another message", field: "Sign")
            }
            return .sent(message)
        }
        let queued = try uploads.leavingNothing(of: message, isKept: sign != nil, call) { () throws(Refusal) in
            try store(file, type, message, call)
        }
        if let queued { return .queued(queued) }
        return .sent(try uploads.services.newest(message.id, call))
    }

    private static func nameAndType(_ file: UploadedFile) -> (String, MediaType) {
        let name = FileName.cleaned(file.head.fileName ?? "")
        return (name, file.mediaType ?? MediaType(fileName: name))
    }

    private func isOfAnother(
        _ file: UploadedFile, _ message: Message, _ draft: MessageDraft
    ) throws(Refusal) -> Bool {
        guard message.content == draft.content, message.contentType == draft.contentType else { return true }
        guard let record = try uploads.upload.record(of: message) else { return false }
        return record.total != Self.parts(file.size)
    }

    /// An empty file also has one part.
    static func parts(_ size: Int64) -> Int { max(1, Int((size + partBytes - 1) / partBytes)) }

    /// - Returns: the outcome when the room was not told in time.
    private func store(
        _ file: UploadedFile, _ type: MediaType, _ message: Message, _ call: Call
    ) throws(Refusal) -> SubmitOutcome? {
        let total = Self.parts(file.size)
        var ended: SubmitOutcome?
        for index in 1...total {
            let start = Int64(index - 1) * Self.partBytes
            let bytes = file.content.part(from: start, length: min(Self.partBytes, file.size - start))
            let chunk = Chunk(index: index, total: total, bytes: bytes, mediaType: type)
            if case .completed(let outcome) = try uploads.take(chunk, of: message, call) { ended = outcome }
        }
        if case .queued? = ended { return ended }
        return nil
    }
}

/// Makes a plain name of the path or junk that a browser sent.
enum FileName {
    static func cleaned(_ text: String) -> String {
        // Split by scalars: a combining mark after a slash forms one character with it and would hide it.
        let last = Array(text.unicodeScalars).split(whereSeparator: { $0 == "/" || $0 == "\\" }).last ?? []
        var name = String(
            String.UnicodeScalarView(
                last.filter { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) && !$0.turnsText }))
        name = trimmed(name)
        guard !name.isEmpty, name != ".", name != ".." else { return "file" }
        guard name.utf8.count > RequestLimit.fileName else { return name }
        // Keep the extension: programs choose the application by it.
        let scalars = name.unicodeScalars
        let end = scalars.lastIndex(of: ".").map { String(scalars[$0...]) } ?? ""
        let kept = end.utf8.count <= 16 ? end : ""
        var stem = scalars.dropLast(kept.unicodeScalars.count)
        // Drop whole scalars: one character may have any number of marks.
        var size = name.utf8.count
        while size > RequestLimit.fileName, let scalar = stem.popLast() { size -= UTF8.width(scalar) }
        return String(Substring(stem)) + kept
    }
}
