/// The properties with which an upload begins.
public struct Outline: Sendable {
    public var total: Int
    /// Nil: guessed from the file's name.
    public var mediaType: MediaType?

    public init(total: Int, mediaType: MediaType? = nil) {
        self.total = total
        self.mediaType = mediaType
    }

    init(_ chunk: Chunk) { self.init(total: chunk.total, mediaType: chunk.index == 1 ? chunk.mediaType : nil) }
}

/// Finds an upload's state, and restores a lost one.
extension UploadFile {
    /// - Parameter outline: begins an upload when there is none; nil: does not begin one.
    func known(of message: Message, beginning outline: Outline?) throws(Refusal) -> Known {
        if let state = try shared(message) { return .open(state) }
        return try stores.locked(message.id) { fence throws(Refusal) in
            if let state = try shared(message) { return .open(state) }
            return try remembered(message, beginning: outline, fence)
        }
    }

    /// The same, but always asks the store: a client may have stored parts directly, and one that asks for the progress
    /// must get the real state.
    func asked(of message: Message) throws(Refusal) -> Known {
        try stores.locked(message.id) { fence throws(Refusal) in try remembered(message, beginning: nil, fence) }
    }

    private func shared(_ message: Message) throws(Refusal) -> UploadState? {
        try stores.progress { progress throws(BusError) in try progress.find(message.id) }
    }

    /// Requires the lock; reads the record and the object store.
    private func remembered(
        _ message: Message, beginning outline: Outline?, _ fence: Int64
    ) throws(Refusal) -> Known {
        if let record = try record(of: message) {
            guard !record.isCompleted else { return .completed }
            if let state = try listed(record, message) {
                return .open(state.joined == nil ? try put(state, message, fence) : state)
            }
            // The store dropped the upload (usually by a lifecycle rule): it begins again.
            try forget(message, upload: record.upload, fence: fence)
        }
        guard let outline else { return .nothing }
        return .open(try begin(message, outline, fence))
    }

    /// - Returns: nil when the store has neither its parts nor its object.
    private func listed(_ record: UploadRecord, _ message: Message) throws(Refusal) -> UploadState? {
        let key = UploadFile.key(message)
        return try stores.objects { store throws(StoreError) -> UploadState? in
            do throws(StoreError) {
                let parts = try store.parts(of: key, upload: record.upload)
                return UploadState(upload: record.upload, total: record.total, parts: parts)
            } catch {
                guard error.isMissing else { throw error }
                guard let size = try store.size(of: key) else { return nil }
                return UploadState(upload: record.upload, total: record.total, joined: size)
            }
        }
    }

    private func begin(_ message: Message, _ outline: Outline, _ fence: Int64) throws(Refusal) -> UploadState {
        let key = UploadFile.key(message)
        let type = outline.mediaType ?? MediaType(fileName: message.content)
        let upload = try stores.objects { store throws(StoreError) in
            try store.beginUpload(of: key, contentType: type.description)
        }
        let mine = UploadRecord(
            message: message.id, upload: upload, total: outline.total, mediaType: outline.mediaType?.description)
        let record = try stores.records { records throws(StoreError) in try records.begin(mine, fence: fence) }
        // Our lock had expired and another worker was first, or the message was deleted.
        if record?.upload != upload {
            try stores.objects { store throws(StoreError) in try store.abortUpload(of: key, upload: upload) }
        }
        guard let record else { throw .messageNotFound }
        return try put(UploadState(upload: record.upload, total: record.total), message, fence)
    }

    private func put(_ state: UploadState, _ message: Message, _ fence: Int64) throws(Refusal) -> UploadState {
        let now = try stores.progress { progress throws(BusError) in
            try progress.put(state, of: message.id, fence: fence)
        }
        guard let now, now.upload == state.upload else { throw .busy("another request works on this upload") }
        return now
    }

    /// Removes the record and the state; the caller cleans up the store.
    func forget(_ message: Message, upload: String, fence: Int64) throws(Refusal) {
        try stores.records { records throws(StoreError) in
            try records.remove(message.id, upload: upload, fence: fence)
        }
        try stores.progress { progress throws(BusError) in try progress.remove(message.id, upload: upload) }
    }
}
