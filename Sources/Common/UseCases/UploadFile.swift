public import Logging

/// Takes a file's chunks, in any order, in parallel and repeated, and completes the file with the one that was missing.
///
/// The parts are in the object store, what is known of them in ``UploadProgress``, and the store's id of the upload in
/// ``UploadRecords``: each of these steps may be done twice, and whoever comes after a crash goes on where it stopped.
public final class UploadFile {
    /// Tells the message's room that the file is complete.
    public typealias Finish<Answer> = (FileInfo) throws(Refusal) -> Answer

    public enum Result<Answer> {
        /// Parts are missing.
        case stored(UploadState)
        /// This request told the room.
        case completed(Answer)
        /// The room knew already.
        case alreadyCompleted
    }

    /// Milliseconds. A worker that died with the lock delays others for at most that long.
    private static let lockTime = 10_000
    private static let lockPatience: Int64 = 12_000

    private let objects: any ObjectStore
    private let records: any UploadRecords
    private let progress: any UploadProgress
    public let rules: UploadRules
    /// Waits for that many milliseconds.
    private let pause: (Int) -> Void
    private let log: Logger

    public init(
        objects: any ObjectStore, records: any UploadRecords, progress: any UploadProgress, rules: UploadRules,
        pause: @escaping (Int) -> Void, log: Logger
    ) {
        self.objects = objects
        self.records = records
        self.progress = progress
        self.rules = rules
        self.pause = pause
        self.log = log
    }

    /// A forwarded message shows the file of its origin.
    public static func key(_ message: Message) -> String { "files/\(message.forwardedFrom ?? message.id)" }

    // MARK: Doors

    /// - Parameter message: as its sender sees it.
    public func store<Answer>(
        _ chunk: Chunk, of message: Message, finish: Finish<Answer>
    ) throws(Refusal) -> Result<Answer> {
        try rules.check(chunk)
        guard message.status == .uploading else {
            try checkRepeat(of: message, total: chunk.total)
            return .alreadyCompleted
        }
        guard let open = try state(of: message, beginning: chunk) else { return .alreadyCompleted }
        try Self.check(total: chunk.total, open.total)
        let state = open.joined == nil ? try add(chunk, open, message) : open
        guard let state else { return .alreadyCompleted }
        return state.isWhole ? try complete(message, state, finish) : .stored(state)
    }

    /// How far it is; nil when nothing has come yet. What is whole and not yet told (its worker died just then) is
    /// completed here: a client that resumes would find no chunk left to send.
    public func resume<Answer>(_ message: Message, finish: Finish<Answer>) throws(Refusal) -> Result<Answer>? {
        guard let state = try state(of: message, beginning: nil) else { return nil }
        return state.isWhole ? try complete(message, state, finish) : .stored(state)
    }

    public func record(of message: Message) throws(Refusal) -> UploadRecord? {
        try stored { () throws(StoreError) in try records.find(message.id) }
    }

    /// After the message itself is deleted: a chunk that comes now is refused.
    public func abort(_ message: Message) throws(Refusal) {
        let key = Self.key(message)
        try locked(message.id) { () throws(Refusal) in
            if let record = try record(of: message) {
                try stored { () throws(StoreError) in
                    try objects.abortUpload(of: key, upload: record.upload)
                    // It may have been joined, and not yet told.
                    try objects.delete(key)
                    try records.remove(message.id, upload: record.upload)
                }
            }
            try shared { () throws(BusError) in try progress.remove(message.id) }
        }
    }

    // MARK: Steps

    private func checkRepeat(of message: Message, total: Int) throws(Refusal) {
        guard message.deletedAt == nil else { throw Refusal(.gone, "the message was deleted") }
        guard let record = try record(of: message) else {
            throw Refusal(.conflict, "the message has no file to upload")
        }
        try Self.check(total: total, record.total)
    }

    private static func check(total: Int, _ known: Int) throws(Refusal) {
        guard total == known else {
            throw Refusal(.conflict, "the upload was begun with \(known) chunks, not \(total)", field: "TotalChunk")
        }
    }

    /// - Returns: nil when the upload is completed, or when it has not begun and `chunk` is nil.
    private func state(of message: Message, beginning chunk: Chunk?) throws(Refusal) -> UploadState? {
        func known() throws(Refusal) -> UploadState? {
            try shared { () throws(BusError) in try progress.find(message.id) }
        }
        if let state = try known() { return state }
        return try locked(message.id) { () throws(Refusal) in
            if let state = try known() { return state }
            return try self.remembered(message, beginning: chunk)
        }
    }

    /// Under the lock, when Redis knows nothing of it.
    private func remembered(_ message: Message, beginning chunk: Chunk?) throws(Refusal) -> UploadState? {
        let key = Self.key(message)
        if let record = try record(of: message) {
            guard !record.isCompleted else { return nil }
            let state = try stored { () throws(StoreError) -> UploadState? in
                do throws(StoreError) {
                    let parts = try objects.parts(of: key, upload: record.upload)
                    return UploadState(upload: record.upload, total: record.total, parts: parts)
                } catch {
                    guard error.isMissing else { throw error }
                    if let size = try objects.size(of: key) {
                        return UploadState(upload: record.upload, total: record.total, joined: size)
                    }
                    // The store gave it up (its operator's rule, most often): it begins anew.
                    try records.remove(message.id, upload: record.upload)
                    return nil
                }
            }
            if let state {
                if state.joined == nil { try shared { () throws(BusError) in try progress.put(state, of: message.id) } }
                return state
            }
        }
        return try chunk.map { chunk throws(Refusal) in try begin(message, chunk) }
    }

    private func begin(_ message: Message, _ chunk: Chunk) throws(Refusal) -> UploadState {
        let key = Self.key(message)
        let type = chunk.index == 1 ? chunk.mediaType : nil
        let state = try stored { () throws(StoreError) -> UploadState? in
            let upload = try objects.beginUpload(
                of: key, contentType: (type ?? MediaType(fileName: message.content)).description)
            let mine = UploadRecord(
                message: message.id, upload: upload, total: chunk.total, mediaType: type?.description)
            let record = try records.begin(mine)
            // The lock had run out and another was first, or the message is gone.
            if record?.upload != upload { try objects.abortUpload(of: key, upload: upload) }
            return record.map { UploadState(upload: $0.upload, total: $0.total) }
        }
        guard let state else { throw .messageNotFound }
        try shared { () throws(BusError) in try progress.put(state, of: message.id) }
        return state
    }

    /// - Returns: nil when the upload was completed meanwhile.
    private func add(_ chunk: Chunk, _ state: UploadState, _ message: Message) throws(Refusal) -> UploadState? {
        if let type = chunk.mediaType, chunk.index == 1 {
            try stored { () throws(StoreError) in try records.note(mediaType: type.description, of: message.id) }
        }
        if let part = state.parts[chunk.index], part.size == chunk.bytes.length, part.etag == chunk.md5 { return state }
        try rules.check(size: state.size - (state.parts[chunk.index]?.size ?? 0) + chunk.bytes.length)
        let etag = try stored { () throws(StoreError) -> String? in
            do throws(StoreError) {
                return try objects.storePart(
                    chunk.index, of: Self.key(message), upload: state.upload, from: chunk.bytes)
            } catch {
                guard error.isMissing else { throw error }
                return nil
            }
        }
        if let etag {
            let part = StoredPart(number: chunk.index, etag: etag, size: chunk.bytes.length)
            let now = try shared { () throws(BusError) in
                try progress.add(part, to: message.id, upload: state.upload)
            }
            if let now { return now }
        } else if try record(of: message)?.isCompleted != true {
            // What Redis knows may be of an upload that the store has no more.
            try shared { () throws(BusError) in try progress.remove(message.id) }
        }
        // Redis lost it, or it was completed or aborted meanwhile: the record knows.
        guard let record = try record(of: message) else { throw Refusal.uploadEnded }
        guard !record.isCompleted else { return nil }
        guard record.upload == state.upload, let again = try self.state(of: message, beginning: nil),
            again.parts[chunk.index] != nil || again.joined != nil
        else { throw Refusal.uploadEnded }
        return again
    }

    private func complete<Answer>(
        _ message: Message, _ state: UploadState, _ finish: Finish<Answer>
    ) throws(Refusal) -> Result<Answer> {
        try locked(message.id) { () throws(Refusal) -> Result<Answer> in
            guard let record = try record(of: message), record.upload == state.upload else { throw Refusal.uploadEnded }
            guard !record.isCompleted else { return .alreadyCompleted }
            let size = try join(message, state)
            let type = record.mediaType ?? MediaType(fileName: message.content).description
            return .completed(try finish(FileInfo(name: message.content, size: size, contentType: type)))
        }
    }

    /// After the room was told, or will surely be. What fails here is done by whoever asks next.
    public func forget(_ message: UUID128) {
        do {
            try stored { () throws(StoreError) in try records.complete(message) }
            try shared { () throws(BusError) in try progress.remove(message) }
        } catch {
            // Logged where it happened; the message itself says that it is sent.
        }
    }

    /// - Returns: the object's bytes.
    private func join(_ message: Message, _ state: UploadState) throws(Refusal) -> Int64 {
        if let size = state.joined { return size }
        let key = Self.key(message)
        do throws(Refusal) {
            // Parallel chunks did not know of each other's size.
            try rules.check(size: state.size)
        } catch {
            try discard(message, state)
            throw error
        }
        let size = try stored { () throws(StoreError) -> Int64? in
            do throws(StoreError) {
                try objects.completeUpload(of: key, upload: state.upload, parts: Array(state.parts.values))
                return state.size
            } catch {
                if error.isMissing { return try objects.size(of: key) }
                guard !error.isTransient else { throw error }
            }
            // A part was replaced just now: the store knows which ones stand.
            let parts = try objects.parts(of: key, upload: state.upload)
            guard parts.count == state.total else { return nil }
            try objects.completeUpload(of: key, upload: state.upload, parts: parts)
            return parts.reduce(0) { $0 + $1.size }
        }
        guard let size else {
            try discard(message, state)
            throw Refusal.uploadEnded
        }
        return size
    }

    private func discard(_ message: Message, _ state: UploadState) throws(Refusal) {
        try stored { () throws(StoreError) in
            try objects.abortUpload(of: Self.key(message), upload: state.upload)
            try records.remove(message.id, upload: state.upload)
        }
        try shared { () throws(BusError) in try progress.remove(message.id) }
    }

    // MARK: The outside

    private func locked<T>(_ message: UUID128, _ body: () throws(Refusal) -> T) throws(Refusal) -> T {
        let token = UUID128.v7(at: systemClock()).description
        let end = monotonicMilliseconds() + Self.lockPatience
        while !(try shared { () throws(BusError) in
            try progress.lock(message, token: token, milliseconds: Self.lockTime)
        }) {
            guard monotonicMilliseconds() < end else { throw .busy("another request works on this upload") }
            pause(.random(in: 10...100))
        }
        defer { try? progress.unlock(message, token: token) }
        return try body()
    }

    private func stored<T>(_ body: () throws(StoreError) -> T) throws(Refusal) -> T {
        do throws(StoreError) { return try body() } catch {
            log.error("a file's store failed", metadata: ["error": "\(error)"])
            guard error.isTransient else { throw Refusal(.internalError, "the request failed here; it is in the log") }
            throw .unavailable("the store of files")
        }
    }

    private func shared<T>(_ body: () throws(BusError) -> T) throws(Refusal) -> T {
        do throws(BusError) { return try body() } catch {
            log.error("Redis failed", metadata: ["error": "\(error)"])
            throw .unavailable("the state of uploads")
        }
    }
}

extension Refusal {
    fileprivate static let uploadEnded = Refusal(.conflict, "the upload was ended meanwhile: begin it again")
}
