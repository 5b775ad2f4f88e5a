import ChatCore

/// Files of messages: in chunks as the client's program sends them, or whole from a plain form.
struct UploadEndpoints {
    let doors: Doors
    let upload: UploadFile
    let objects: any ObjectStore
    /// For redirects within our own origin.
    let publicURL: String
    /// Where a request's file is while it is read.
    let folder: String

    /// Seconds that a link to a file is good for.
    static let linkSeconds = 300
    /// Bytes of a part of a whole file.
    static let partBytes: Int64 = 8 << 20

    func add(to router: inout Router) {
        router.on("POST", "/files/{id}/upload") { call throws(Refusal) in try chunk(call) }
        router.on("GET", "/files/{id}/upload") { call throws(Refusal) in try state(call) }
        router.on("DELETE", "/files/{id}/upload") { call throws(Refusal) in try abort(call) }
        router.on("DELETE", "/files/{id}") { call throws(Refusal) in try abort(call) }
        router.on("GET", "/files/{id}") { call throws(Refusal) in try download(call) }
        router.on("POST", "/rooms/{id}/files") { call throws(Refusal) in page(call) }
    }

    // MARK: Chunks

    private func chunk(_ call: Call) throws(Refusal) -> Response {
        let message = try own(call)
        let form = try UploadForm(call.request, maxFile: upload.rules.maxSize, folder: folder)
        let chunk = Chunk(
            index: try form.number("ChunkIndex"), total: try form.number("TotalChunk"),
            bytes: FilePart(descriptor: form.file.descriptor, offset: 0, length: form.file.size), md5: form.md5,
            mediaType: form.mediaType)
        let result = try upload.store(chunk, of: message) { file throws(Refusal) in try finish(message, file, call) }
        return try answer(result, message, call, total: chunk.total, index: chunk.index)
    }

    private func state(_ call: Call) throws(Refusal) -> Response {
        let message = try own(call)
        if message.status == .uploading {
            let result = try upload.resume(message) { file throws(Refusal) in try finish(message, file, call) }
            if let result { return try answer(result, message, call, total: nil, index: nil) }
        }
        guard message.status != .deleted, let record = try upload.record(of: message) else {
            guard message.status == .uploading else { throw UploadEndpoints.nothingToUpload }
            return .data { UploadEndpoints.write(&$0, message.id, total: nil, received: [], size: 0) }
        }
        return try answer(.alreadyCompleted, message, call, total: record.total, index: nil)
    }

    private static let nothingToUpload = Refusal(.conflict, "the message has no file to upload")

    /// The message, when it is the asking user's.
    private func own(_ call: Call) throws(Refusal) -> Message {
        let message = try doors.newest(try call.uuid("id"), call)
        guard message.senderID == call.user else { throw .messageNotFound }
        guard message.status != .deleted else { throw Refusal(.gone, "the message was deleted") }
        guard message.contentType != .text, message.forwardedFrom == nil else { throw UploadEndpoints.nothingToUpload }
        return message
    }

    private func finish(_ message: Message, _ file: FileInfo, _ call: Call) throws(Refusal) -> Outcome {
        let outcome = try doors.submit(
            call, room: message.roomID, .completeFile(message: message.id, file: file))
        // What is only queued stays open: whoever asks again tells the room again, and it hears it once.
        if case .done = outcome { upload.forget(message.id) }
        return outcome
    }

    /// `index` and `Message` belong to the answer of a chunk.
    private func answer(
        _ result: UploadFile.Result<Outcome>, _ message: Message, _ call: Call, total: Int?, index: Int?
    ) throws(Refusal) -> Response {
        switch result {
        case .stored(let state):
            return .data {
                UploadEndpoints.write(
                    &$0, message.id, index: index, total: state.total, received: state.received, size: state.size)
            }
        case .completed(.queued):
            return .data(status: 202) {
                UploadEndpoints.write(
                    &$0, message.id, index: index, total: total, received: Array(1...(total ?? 1)), size: nil,
                    isCompleted: true)
            }
        case .completed(.done), .alreadyCompleted:
            let message = try doors.newest(message.id, call)
            var known = total ?? 1
            if total == nil, let record = try upload.record(of: message) { known = record.total }
            return .data {
                UploadEndpoints.write(
                    &$0, message.id, index: index, total: known, received: Array(1...known), size: message.file?.size,
                    isCompleted: true, message: message)
            }
        }
    }

    private static func write(
        _ writer: inout JSONWriter, _ id: UUID128, index: Int? = nil, total: Int?, received: [Int], size: Int64?,
        isCompleted: Bool = false, message: Message? = nil
    ) {
        writer.beginMap(7)
        writer.key("MessageID")
        writer.uuid(id)
        if let index {
            writer.key("ChunkIndex")
            writer.int(Int64(index))
        }
        writer.key("TotalChunk")
        writer.optional(total) { $0.int(Int64($1)) }
        writer.key("Received")
        writer.beginArray(received.count)
        for number in received { writer.int(Int64(number)) }
        writer.endArray()
        writer.key("Size")
        writer.optional(size) { $0.int($1) }
        writer.key("Completed")
        writer.bool(isCompleted)
        if let message {
            writer.key("Message")
            message.write(to: &writer)
        }
        writer.endMap()
    }

    /// An unfinished upload and its message.
    private func abort(_ call: Call) throws(Refusal) -> Response {
        let message = try doors.newest(try call.uuid("id"), call)
        guard message.senderID == call.user else { throw .messageNotFound }
        guard message.status == .uploading || message.status == .deleted else {
            throw Refusal(.conflict, "the file is complete: delete its message instead")
        }
        guard message.contentType != .text, message.forwardedFrom == nil else { throw UploadEndpoints.nothingToUpload }
        let outcome = try doors.submit(call, room: message.roomID, .delete(message: message.id))
        try upload.abort(message)
        return outcome.response()
    }

    // MARK: Downloads

    private func download(_ call: Call) throws(Refusal) -> Response {
        let message = try doors.newest(try call.uuid("id"), call)
        guard message.status == .sent || message.status == .seen, let file = message.file else {
            throw Refusal(.messageNotFound, "the message has no file that is complete")
        }
        let type = MediaType(file.contentType) ?? .unknown
        let link = objects.downloadLink(
            for: UploadFile.key(message), name: file.name,
            contentType: (type.isActive ? .unknown : type).description, asAttachment: !type.isShownInline,
            seconds: UploadEndpoints.linkSeconds)
        var response = Response(status: 302)
        response.headers = [
            ("Location", link), ("Cache-Control", "private, no-store"), ("Referrer-Policy", "no-referrer"),
        ]
        return response
    }

    // MARK: A whole file

    /// A browser gets a page or a redirect, everybody else the JSON of a send.
    private func page(_ call: Call) -> Response {
        let isBrowser = call.request.header("accept")?.lowercased().contains("text/html") == true
        do throws(Refusal) {
            let (response, redirect) = try whole(call)
            guard isBrowser else { return response }
            let target = redirect.flatMap { SameOrigin.path($0, publicURL: publicURL) } ?? "/"
            var seeOther = Response(status: 303)
            seeOther.headers = [("Location", target)]
            return seeOther
        } catch {
            let refusal = Response.refusal(error, requestID: call.requestID)
            return isBrowser ? .page(error, like: refusal) : refusal
        }
    }

    private func whole(_ call: Call) throws(Refusal) -> (Response, redirect: String?) {
        let form = try UploadForm(call.request, maxFile: upload.rules.maxSize, folder: folder)
        _ = try doors.user(call, token: form["token"])
        let name = FileName.cleaned(form.head.fileName ?? "")
        let type = form.mediaType ?? MediaType(fileName: name)
        let draft = MessageDraft(content: name, contentType: type.contentType)
        let sign = try call.sign(RequestFields(.map([.init("Sign", form["Sign"].map { .string($0) } ?? .null)])))
        let sent = try doors.submit(call, room: try call.uuid("id"), sign: sign, .send(draft, receiver: nil))
        guard case .done(let data) = sent, let id = data["ID"]?.string.flatMap({ UUID128($0) }) else {
            // Its message is safe in the queue, but nothing can be added to it yet. The same Sign goes on with it.
            throw .busy("the room is slow to answer")
        }
        let message = try doors.newest(id, call)
        if message.status == .uploading { return (try store(form, type, message, call), form["Redirect"]) }
        guard message.contentType != .text else {
            throw Refusal(.conflict, "this Sign belongs to another message", field: "Sign")
        }
        return (.data(status: 201) { message.write(to: &$0) }, form["Redirect"])
    }

    private func store(
        _ form: UploadForm, _ type: MediaType, _ message: Message, _ call: Call
    ) throws(Refusal) -> Response {
        let size = form.file.size
        let total = Int((size + UploadEndpoints.partBytes - 1) / UploadEndpoints.partBytes)
        var ended: Outcome?
        for index in 1...total {
            let start = Int64(index - 1) * UploadEndpoints.partBytes
            let bytes = FilePart(
                descriptor: form.file.descriptor, offset: start, length: min(UploadEndpoints.partBytes, size - start))
            let chunk = Chunk(
                index: index, total: total, bytes: bytes, md5: total == 1 ? form.md5 : nil, mediaType: type)
            let result = try upload.store(chunk, of: message) { file throws(Refusal) in
                try finish(message, file, call)
            }
            if case .completed(let outcome) = result { ended = outcome }
        }
        if case .queued? = ended { return ended!.response() }
        let message = try doors.newest(message.id, call)
        return .data(status: 201) { message.write(to: &$0) }
    }
}

/// A plain name, whatever path or junk a browser sent.
enum FileName {
    static func cleaned(_ text: String) -> String {
        let last = text.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last ?? ""
        var name = String(
            String.UnicodeScalarView(
                last.unicodeScalars.filter { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }))
        name = trimmed(name)
        guard !name.isEmpty, name != ".", name != ".." else { return "file" }
        guard name.utf8.count > RequestLimit.fileName else { return name }
        // The extension stays: programs open files by it.
        let end = name.lastIndex(of: ".").map { String(name[$0...]) } ?? ""
        let kept = end.utf8.count <= 16 ? end : ""
        var stem = name.dropLast(kept.count)
        while stem.utf8.count + kept.utf8.count > RequestLimit.fileName { stem.removeLast() }
        return stem + kept
    }
}

/// Where a form may send its browser afterwards.
enum SameOrigin {
    /// A path here, or an address with `publicURL`'s origin; nil for any other.
    static func path(_ target: String, publicURL: String) -> String? {
        // Browsers drop tabs and line breaks and read \ as /: `/\t/elsewhere` is another origin.
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") }) else { return nil }
        let isPath = target.hasPrefix("/") && !target.hasPrefix("//")
        let origin = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
        guard isPath || target == origin || target.hasPrefix(origin + "/") else { return nil }
        // Other than ASCII is not allowed in a header.
        return target.utf8.map { byte in
            byte < 0x80
                ? String(Unicode.Scalar(byte)) : "%" + (String(byte, radix: 16, uppercase: true))
        }.joined()
    }
}

extension Response {
    /// The refusal for people.
    static func page(_ refusal: Refusal, like response: Response) -> Response {
        let text = refusal.message.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(
            ">", with: "&gt;")
        let html = """
            <!doctype html><html lang="en"><meta charset="utf-8"><title>The file was not sent</title>
            <h1>The file was not sent</h1><p>\(text)</p><p><code>\(refusal.code.rawValue)</code></p></html>\n
            """
        var page = Response(status: response.status, type: "text/html; charset=utf-8", body: Array(html.utf8))
        page.headers.append(("Content-Security-Policy", "default-src 'none'"))
        page.headers += response.headers.filter { $0.name != "Content-Type" }
        return page
    }
}
