import ChatCore

/// The tus protocol, 1.0.0, for clients that support it (https://tus.io/protocols/resumable-upload).
///
/// The store takes parts of one size; the bytes of an incomplete part are kept in an object beside them. The offset
/// counts both, so it is correct after any crash: at worst a client repeats the beginning of a part.
struct TusEndpoints {
    let uploads: UploadServices
    /// How long an upload may take.
    let lifetime: Duration

    static let version = "1.0.0"
    private static let extensions = "creation,creation-with-upload,checksum,termination,expiration"
    /// A status code of tus.
    private static let checksumMismatch = 460
    private static let body = "application/offset+octet-stream"
    private static let partBytes = WholeFileEndpoints.partBytes

    func add(to router: inout Router) {
        router.on("OPTIONS", "/files/tus", open: true, query: nil) { _ in options() }
        on(&router, "POST", "/files/tus", create)
        on(&router, "GET", "/files/tus/{id}", offset)
        on(&router, "PATCH", "/files/tus/{id}", append)
        on(&router, "DELETE", "/files/tus/{id}", abort)
    }

    /// Refuses clients that use another version of tus.
    private func on(
        _ router: inout Router, _ method: String, _ path: String,
        _ handle: @escaping (Call) throws(Refusal) -> Response
    ) {
        router.on(method, path, open: true, query: nil) { call in
            var response: Response
            do throws(Refusal) {
                guard call.request.header("tus-resumable") == Self.version else {
                    throw Refusal(.unsupportedVersion, "send the header Tus-Resumable: \(Self.version)")
                }
                try call.request.query.refuse(except: method == "POST" ? ["room"] : [])
                try call.request.refuseEncodings()
                response = try handle(call)
            } catch {
                response = .refusal(uploads.noted(error), requestID: call.requestID)
                if error.code == .checksumMismatch { response.status = Self.checksumMismatch }
                if error.code == .unsupportedVersion { response.headers.append(("Tus-Version", Self.version)) }
            }
            if method == "GET" { response.headers.append(("Cache-Control", "no-store")) }
            return response
        }
    }

    private func options() -> Response {
        var response = Response.noContent
        response.headers = [
            ("Tus-Version", Self.version), ("Tus-Extension", Self.extensions),
            ("Tus-Max-Size", "\(uploads.upload.rules.maxSize)"), ("Tus-Checksum-Algorithm", TusChecksum.algorithms),
        ]
        return response
    }

    // MARK: Creation

    /// `Upload-Metadata`: `room`, the room's id; `filename`; `filetype`; `sign`, as a send has it.
    private func create(_ call: Call) throws(Refusal) -> Response {
        try uploads.services.limit(.uploads, call)
        let length = try number("upload-length", call)
        try uploads.upload.rules.check(size: length)
        try Self.refuseEncoded(call)
        let told = call.request.header("upload-metadata") ?? ""
        // HEAD repeats it in a header, and the web server refuses an answer with a header that is too long.
        guard told.utf8.count <= RequestLimit.uploadMetadata else {
            throw Refusal(
                .malformed, "the Upload-Metadata has more than \(RequestLimit.uploadMetadata) bytes",
                field: "Upload-Metadata")
        }
        let metadata = try TusMetadata(told)
        guard let room = (metadata["room"] ?? call.request.query["room"]).flatMap({ UUID128($0) }) else {
            throw .invalid("Upload-Metadata", "has no room that is a UUID")
        }
        let name = FileName.cleaned(metadata["filename"] ?? "")
        let claimed = metadata["filetype"].flatMap { MediaType($0) }
        let type = claimed ?? MediaType(fileName: name)
        let sign = try call.sign(RequestFields(.map([.init("Sign", metadata["sign"].map { .string($0) } ?? .null)])))
        let message = try uploads.send(
            MessageDraft(content: name, contentType: type.contentType), to: room, sign: sign, call)
        guard message.contentType != .text else { throw UploadServices.nothingToUpload }
        guard message.status != .deleted else { throw Refusal(.gone, "the message was deleted") }
        // A refused creation gives no address and leaves nothing behind, unless a retry with the same Sign can continue
        // it.
        var response = try uploads.leavingNothing(of: message, isKept: sign != nil, call) { () throws(Refusal) in
            try begin(message, length, Outline(total: total(length), mediaType: claimed), told, call)
        }
        response.status = 201
        response.headers.append(("Location", "\(call.request.prefix)/files/tus/\(message.id)"))
        return response
    }

    private func begin(
        _ message: Message, _ length: Int64, _ outline: Outline, _ metadata: String, _ call: Call
    ) throws(Refusal) -> Response {
        guard message.status == .uploading else { return progress(length, message) }
        try uploads.upload.announce(length, outline, metadata: metadata.isEmpty ? nil : metadata, of: message)
        // The upload is complete at once.
        if length == 0 {
            let empty = Chunk(
                index: 1, total: 1, bytes: FilePart(descriptor: -1, offset: 0, length: 0), mediaType: outline.mediaType)
            _ = try uploads.take(empty, of: message, call)
        }
        guard call.request.mediaType == Self.body, call.request.contentLength > 0 else { return progress(0, message) }
        return try append(call, message, length, at: 0)
    }

    /// The body must be the plain bytes of the file (RFC 9110, 15.5.16).
    private static func refuseEncoded(_ call: Call) throws(Refusal) {
        guard let coding = call.request.header("content-encoding"), trimmed(coding).lowercased() != "identity" else {
            return
        }
        throw Refusal(.unsupportedMediaType, "send the body without Content-Encoding")
    }

    // MARK: An upload

    private func offset(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        let length = try length(message)
        var response = progress(try offset(message, length), message)
        response.status = 200
        response.headers.append(("Upload-Length", "\(length)"))
        if let metadata = try uploads.upload.record(of: message)?.metadata {
            response.headers.append(("Upload-Metadata", metadata))
        }
        return response
    }

    private func append(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        guard call.request.mediaType == Self.body else {
            throw Refusal(.unsupportedMediaType, "the body must be \(Self.body)")
        }
        try Self.refuseEncoded(call)
        return try append(call, message, try length(message), at: try number("upload-offset", call))
    }

    private func abort(_ call: Call) throws(Refusal) -> Response {
        let message = try uploads.liveMessage(of: call)
        guard message.status == .uploading else {
            throw Refusal(.conflict, "the file is complete: delete its message instead")
        }
        _ = try uploads.services.submit(call, room: message.roomID, .delete(message: message.id))
        try uploads.upload.abort(message)
        return .noContent
    }

    private func append(
        _ call: Call, _ message: Message, _ length: Int64, at start: Int64
    ) throws(Refusal) -> Response {
        try uploads.upload.continuing(message) { () throws(Refusal) in
            try appendAlone(call, message, length, at: start)
        }
    }

    private func appendAlone(
        _ call: Call, _ message: Message, _ length: Int64, at start: Int64
    ) throws(Refusal) -> Response {
        let known = try offset(message, length)
        guard start == known else {
            throw Refusal(.conflict, "the upload is at byte \(known), not \(start)", field: "Upload-Offset")
        }
        guard Int64(call.request.contentLength) <= length - start else {
            throw Refusal(.tooLarge, "the body is longer than the missing part of the upload", field: "Upload-Length")
        }
        guard known < length else { return progress(known, message) }
        let tail = try TemporaryFile(in: uploads.folder)
        let before = start % Self.partBytes
        if before > 0 { try uploads.upload.fetchTail(of: message, into: tail.descriptor, size: before) }
        try tail.continueBehind(before)
        try receive(call, into: tail)
        return progress(try store(tail, from: start - before, length, message, call), message)
    }

    private func receive(_ call: Call, into file: TemporaryFile) throws(Refusal) {
        var checksum = try call.request.header("upload-checksum").map { text throws(Refusal) in try TusChecksum(text) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var got = 0
        while got < call.request.contentLength {
            let count = buffer.withUnsafeMutableBytes { call.request.read($0) }
            guard count > 0 else { throw Refusal(.malformed, "the body is cut off") }
            got += count
            buffer[..<count].withUnsafeBytes { checksum?.update($0) }
            try file.append(buffer[..<count])
        }
        guard checksum?.isRight != false else {
            throw Refusal(.checksumMismatch, "the body does not match its Upload-Checksum")
        }
    }

    /// - Parameter first: the offset of the file's first byte in the upload; a part begins there.
    /// - Returns: the new offset.
    private func store(
        _ file: TemporaryFile, from first: Int64, _ length: Int64, _ message: Message, _ call: Call
    ) throws(Refusal) -> Int64 {
        var offset: Int64 = 0
        while offset < file.size {
            let size = min(Self.partBytes, file.size - offset)
            let bytes = file.part(from: offset, length: size)
            guard size == Self.partBytes || first + offset + size == length else {
                try uploads.upload.putTail(bytes, of: message)
                return first + offset + size
            }
            // Removes an old tail: it would be taken for the beginning of a later part.
            if offset == 0 { try uploads.upload.removeTail(of: message) }
            let index = Int((first + offset) / Self.partBytes) + 1
            let chunk = Chunk(index: index, total: total(length), bytes: bytes)
            do throws(Refusal) { _ = try uploads.take(chunk, of: message, call) } catch {
                // Only another upload can change the type.
                if error.code == .unsupportedMediaType { uploads.withdraw(message, call) }
                throw error
            }
            offset += size
        }
        return first + offset
    }

    /// The number of bytes stored without a gap from the beginning.
    private func offset(_ message: Message, _ length: Int64) throws(Refusal) -> Int64 {
        guard message.status == .uploading else { return length }
        let parts = try uploads.upload.contiguousParts(of: message)
        // All parts are stored, but the room was not told: the client repeats the last bytes, which tells it. An empty
        // upload has none.
        guard length > 0 else { return 0 }
        guard parts < total(length) else { return Int64(parts - 1) * Self.partBytes }
        let here = Int64(parts) * Self.partBytes + (try uploads.upload.tailSize(of: message))
        return min(here, length)
    }

    private func length(_ message: Message) throws(Refusal) -> Int64 {
        guard let length = try uploads.upload.record(of: message)?.length else {
            throw Refusal(.messageNotFound, "there is no such tus upload")
        }
        return length
    }

    private func total(_ length: Int64) -> Int { WholeFileEndpoints.parts(length) }

    private func progress(_ offset: Int64, _ message: Message) -> Response {
        var response = Response.noContent
        response.headers = [("Upload-Offset", "\(offset)")]
        if message.status == .uploading {
            response.headers.append(("Upload-Expires", httpDate(message.createdAt + lifetime.milliseconds)))
        }
        return response
    }

    private func number(_ name: String, _ call: Call) throws(Refusal) -> Int64 {
        guard let text = call.request.header(name), text.utf8.allSatisfy({ (48...57).contains($0) }),
            let number = Int64(text)
        else { throw Refusal(.malformed, "the header \(name) is not a number of bytes") }
        return number
    }
}

/// `Upload-Metadata`: names, each with a value in base64 or none, separated by commas.
struct TusMetadata {
    private var values: [String: String] = [:]

    init(_ text: String) throws(Refusal) {
        for pair in pieces(of: text, at: UInt8(ascii: ",")) {
            let sides = pieces(of: trimmed(pair), at: UInt8(ascii: " "), maxSplits: 1)
            guard let name = sides.first else { continue }
            let value = sides.count > 1 ? base64Decoded(trimmed(sides[1])) : []
            guard let value, let text = String(validating: value, as: UTF8.self) else {
                throw .invalid("Upload-Metadata", "has a value that is not base64 of UTF-8")
            }
            guard values.updateValue(text, forKey: String(name)) == nil else {
                throw .invalid("Upload-Metadata", "has a name twice")
            }
        }
    }

    subscript(name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }
}

/// `Upload-Checksum`: an algorithm and a digest in base64.
struct TusChecksum {
    static let algorithms = "sha1,sha256,crc32"
    private var sum: any Checksum
    private let wanted: String

    init(_ text: String) throws(Refusal) {
        let sides = pieces(of: text, at: UInt8(ascii: " "))
        guard sides.count == 2,
            pieces(of: TusChecksum.algorithms, at: UInt8(ascii: ",")).contains(where: { areSameBytes($0, sides[0]) }),
            let sum = Checksums.make("x-amz-checksum-\(sides[0])")
        else { throw Refusal(.malformed, "the Upload-Checksum is none of: \(TusChecksum.algorithms)") }
        self.sum = sum
        wanted = String(sides[1])
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) { sum.update(bytes) }
    var isRight: Bool { base64(sum.digest()) == wanted }
}
