/// Accepts a file's chunks in any order, in parallel and repeated, and completes the file with the last missing one.
///
/// The object store holds the parts, ``UploadProgress`` the state, and ``UploadRecords`` the store's id of the upload.
/// Each step may run twice, so any worker can continue after a crash.
public final class UploadFile {
    /// Tells the message's room that the file is complete.
    public typealias Finish<Answer> = (FileInfo) throws(Refusal) -> Answer

    public enum Result<Answer> {
        /// Parts are missing.
        case stored(UploadState)
        /// This request announced the file to the room.
        case completed(Answer)
        /// The file was announced before.
        case alreadyCompleted
    }

    /// The state of a message's upload.
    enum Known {
        case nothing
        case completed
        case open(UploadState)
    }

    public let stores: UploadStores
    public let rules: UploadRules
    let inspection: InspectFile

    public init(_ stores: UploadStores, rules: UploadRules, inspection: InspectFile) {
        self.stores = stores
        self.rules = rules
        self.inspection = inspection
    }

    /// A forwarded message shares the file of the original.
    public static func key(_ message: Message) -> String { key(message.forwardedFrom ?? message.id) }
    public static func key(_ message: UUID128) -> String { "\(prefix)\(message)" }
    static let prefix = "files/"
    public static func thumbnailKey(_ message: UUID128) -> String { "thumbnails/\(message)" }

    // MARK: Entry points

    /// - Parameter message: in the form that its sender sees.
    public func store<Answer>(
        _ chunk: Chunk, of message: Message, finish: Finish<Answer>
    ) throws(Refusal) -> Result<Answer> {
        try rules.check(chunk)
        guard message.status == .uploading else {
            try checkRepeat(of: message, total: chunk.total)
            return .alreadyCompleted
        }
        if chunk.index == 1 { try inspection.check(first: chunk, of: message) }
        let outline = Outline(chunk)
        guard case .open(let open) = try known(of: message, beginning: outline) else { return .alreadyCompleted }
        try UploadFile.check(total: chunk.total, open.total)
        guard open.joined == nil else { return try complete(message, open, finish) }
        guard let state = try add(chunk, open, message) else { return .alreadyCompleted }
        return state.isWhole ? try complete(message, state, finish) : .stored(state)
    }

    /// Checks a whole file by its bytes before anything of it is sent.
    public func check(_ file: Chunk, as kind: ContentType, name: String) throws(Refusal) {
        try rules.check(size: file.bytes.length)
        try inspection.check(first: file, kind, name: name)
    }

    /// The progress of an upload; nil when nothing has arrived yet. A complete but unannounced file (its worker died at
    /// that moment, or its parts went straight to the store) is completed here: a client that resumes has no chunk left
    /// to send.
    public func resume<Answer>(_ message: Message, finish: Finish<Answer>) throws(Refusal) -> Result<Answer>? {
        switch try asked(of: message) {
        case .nothing: return nil
        case .completed: return .alreadyCompleted
        case .open(let state): return state.isWhole ? try complete(message, state, finish) : .stored(state)
        }
    }

    public func record(of message: Message) throws(Refusal) -> UploadRecord? { try stores.record(of: message.id) }

    /// Call this after the message was deleted: late chunks are refused.
    public func abort(_ message: Message) throws(Refusal) {
        try stores.locked(message.id) { fence throws(Refusal) in
            guard let record = try stores.record(of: message.id) else { return }
            try stores.objects { store throws(StoreError) in
                try store.abortUpload(of: UploadFile.key(message), upload: record.upload)
                // The parts may have been joined without an announcement.
                try store.delete(UploadFile.key(message))
                try store.delete(UploadFile.tailKey(message.id))
            }
            try forget(message, upload: record.upload, fence: fence)
        }
    }

    /// Call this after the room was told, or is certain to be. The next request repeats a step that fails here.
    public func forget(_ message: UUID128) {
        do {
            try stores.records { records throws(StoreError) in try records.complete(message) }
            guard let record = try stores.record(of: message) else { return }
            try stores.progress { progress throws(BusError) in try progress.remove(message, upload: record.upload) }
        } catch {
            // The error is logged where it happened; the message itself is already sent.
        }
    }

    // MARK: Steps

    private func checkRepeat(of message: Message, total: Int) throws(Refusal) {
        guard message.deletedAt == nil else { throw Refusal(.gone, "the message was deleted") }
        guard let record = try record(of: message) else {
            throw Refusal(.conflict, "the message has no file to upload")
        }
        try UploadFile.check(total: total, record.total)
    }

    static func check(total: Int, _ known: Int) throws(Refusal) {
        guard total == known else {
            throw Refusal(.conflict, "the upload was begun with \(known) chunks, not \(total)", field: "TotalChunk")
        }
    }

    /// - Returns: nil when the upload was completed meanwhile.
    private func add(_ chunk: Chunk, _ state: UploadState, _ message: Message) throws(Refusal) -> UploadState? {
        if let type = chunk.mediaType, chunk.index == 1 {
            try stores.records { records throws(StoreError) in
                try records.note(mediaType: type.description, of: message.id)
            }
        }
        if let part = state.parts[chunk.index], part.size == chunk.bytes.length, part.etag == chunk.md5() {
            return state
        }
        let size = state.size - (state.parts[chunk.index]?.size ?? 0) + chunk.bytes.length
        try rules.check(size: size)
        if rules.quota > 0 { try reserve(size, for: message) }
        guard let part = try put(chunk, state, message) else {
            // Redis may describe an upload that the store no longer has; the record and the store are authoritative.
            if try record(of: message)?.isCompleted != true {
                try stores.progress { progress throws(BusError) in
                    try progress.remove(message.id, upload: state.upload)
                }
            }
            return try ended(message, state)
        }
        return try note(part, state, message)
    }

    func reserve(_ size: Int64, for message: Message) throws(Refusal) {
        let fits = try stores.records { records throws(StoreError) in
            try records.reserve(size, for: message.id, quota: rules.quota)
        }
        guard fits else {
            throw Refusal(
                .quotaExceeded, "your files together would have more than \(rules.quota) bytes", field: "File")
        }
    }

    /// - Returns: nil when the store no longer knows the upload.
    private func put(_ chunk: Chunk, _ state: UploadState, _ message: Message) throws(Refusal) -> StoredPart? {
        // Not every store accepts an empty part; `join` creates the empty object.
        guard chunk.bytes.length > 0 else { return StoredPart(number: chunk.index, etag: "empty", size: 0) }
        return try stores.objects { store throws(StoreError) -> StoredPart? in
            do throws(StoreError) {
                let etag = try store.storePart(
                    chunk.index, of: UploadFile.key(message), upload: state.upload, from: chunk.bytes)
                return StoredPart(number: chunk.index, etag: etag, size: chunk.bytes.length)
            } catch {
                guard error.isMissing else { throw error }
                return nil
            }
        }
    }

    /// Redis may lose the upload at any moment. Then its state is read back from the store, and this part is added,
    /// since that listing may have been too early for it.
    private func note(_ part: StoredPart, _ state: UploadState, _ message: Message) throws(Refusal) -> UploadState? {
        for _ in 0..<3 {
            let now = try stores.progress { progress throws(BusError) in
                try progress.add(part, to: message.id, upload: state.upload)
            }
            if let now { return now }
            guard let again = try ended(message, state) else { return nil }
            if again.joined != nil { return again }
        }
        throw .unavailable("the state of uploads")
    }

    /// - Returns: nil when the upload is completed.
    private func ended(_ message: Message, _ state: UploadState) throws(Refusal) -> UploadState? {
        switch try known(of: message, beginning: nil) {
        case .completed: return nil
        case .open(let again) where again.upload == state.upload: return again
        case .open, .nothing: throw Refusal.uploadEnded
        }
    }
}

extension Refusal {
    static let uploadEnded = Refusal(.conflict, "the upload was ended meanwhile: begin it again")
}
