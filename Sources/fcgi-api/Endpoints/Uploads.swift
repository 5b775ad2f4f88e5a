import ChatCore

/// Chunked uploads by a client program: through a worker, or straight to the store.
struct UploadEndpoints {
    let uploads: UploadServices
    private var upload: UploadFile { uploads.upload }

    init(uploads: UploadServices) { self.uploads = uploads }

    /// The most links that one request may ask for.
    private static let maxLinks = 1000
    /// How long a link to store a part is valid.
    private static let partLifetime = Duration.seconds(3600)
    /// Bytes of a request for links.
    private static let presignBody = 262_144

    func add(to router: inout Router) {
        router.on("POST", "/files/{id}/upload", chunk)
        router.on("GET", "/files/{id}/upload", state)
        router.on("DELETE", "/files/{id}/upload", abort)
        router.on("DELETE", "/files/{id}", abort)
        router.on("POST", "/files/{id}/presign", presign)
        router.on("POST", "/files/{id}/complete", complete)
    }

    private func chunk(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        let form: UploadForm
        do throws(Refusal) {
            form = try UploadForm(call.request, maxFile: upload.rules.maxSize, folder: uploads.folder)
        } catch { throw uploads.noted(error) }
        var bytes = form.file.content.part()
        bytes.toldMD5 = form.file.toldMD5
        let chunk = Chunk(
            index: try form.number("ChunkIndex"), total: try form.number("TotalChunk"), bytes: bytes,
            mediaType: form.file.mediaType)
        let result = try uploads.take(chunk, of: message, call)
        return try uploads.answer(result, message, call, total: chunk.total, index: chunk.index)
    }

    private func state(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        guard message.status == .uploading else {
            guard try upload.record(of: message) != nil else { throw UploadServices.nothingToUpload }
            return try uploads.answer(.alreadyCompleted, message, call)
        }
        if let result = try uploads.resume(message, call) { return try uploads.answer(result, message, call) }
        return .data { UploadProgressBody(message: message.id, received: []).write(to: &$0) }
    }

    /// Aborts an unfinished upload and deletes its message.
    private func abort(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.messageOfSender(call)
        guard message.status == .uploading || message.status == .deleted else {
            throw Refusal(.conflict, "the file is complete: delete its message instead")
        }
        let outcome = try uploads.services.submit(call, room: message.roomID, .delete(message: message.id))
        try upload.abort(message)
        return outcome.response()
    }

    // MARK: Straight to the store

    /// Returns links that each store exactly the announced part: its size and its MD5 are signed.
    private func presign(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        guard message.status == .uploading else { throw Refusal(.conflict, "the file is complete") }
        let fields = try call.request.fields(limit: Self.presignBody)
        guard let total = try fields.integer("TotalChunk", in: 1...Int64(Chunk.maxTotal)) else {
            throw .invalid("TotalChunk", "is missing")
        }
        let type = try fields.text("ContentType").flatMap { MediaType($0) }
        let parts = try fields.objects("Chunks", limit: Self.maxLinks).map { fields throws(Refusal) in
            try PlannedPart(fields)
        }
        let links = try upload.links(
            for: parts, outline: Outline(total: Int(total), mediaType: type), of: message,
            seconds: Int(Self.partLifetime.seconds))
        let end = uploads.services.clock() + Self.partLifetime.milliseconds
        return .data {
            $0.map {
                $0.field("ExpiresAt", time: end)
                $0.array("Chunks", links.indices) { links[$1].write(to: &$0, index: parts[$1].index) }
            }
        }
    }

    private func complete(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        guard message.status == .uploading else { return try state(call) }
        guard let result = try uploads.resume(message, call) else {
            throw Refusal(.conflict, "no part of the file is here")
        }
        if case .stored(let state) = result {
            throw Refusal(.conflict, "parts are missing: \(state.missing(atMost: 20))")
        }
        return try uploads.answer(result, message, call)
    }
}

extension PlannedPart {
    /// Reads a client's request.
    fileprivate init(_ fields: RequestFields) throws(Refusal) {
        guard let index = try fields.integer("ChunkIndex", in: 1...Int64(Chunk.maxTotal)) else {
            throw .invalid("ChunkIndex", "is missing")
        }
        guard let size = try fields.integer("Size", in: 1...Int64.max) else { throw .invalid("Size", "is missing") }
        guard let md5 = try fields.text("ContentMD5"), base64Decoded(md5)?.count == 16 else {
            throw .invalid("ContentMD5", "is not an MD5 in base64")
        }
        self.init(index: Int(index), size: size, md5: md5)
    }
}

extension PartLink {
    fileprivate func write(to writer: inout JSONWriter, index: Int) {
        writer.map {
            $0.field("ChunkIndex", index)
            $0.field("Method", "PUT")
            $0.field("URL", url)
            $0.map("Headers") { for (name, value) in headers { $0.field(named: name, value) } }
        }
    }
}

extension UploadState {
    /// The numbers of missing parts, shortened when there are very many.
    fileprivate func missing(atMost most: Int) -> String {
        let all = (1...total).filter { parts[$0] == nil }
        return all.prefix(most).map { "\($0)" }.joined(separator: ", ") + (all.count > most ? " …" : "")
    }
}
