import ChatCore

/// In-memory versions of the object store, the records and the shared state; each can be made to fail.
final class MemoryUploads: ObjectStore, UploadRecords, UploadProgress, ContentTyper {
    func check() {}
    var uploads: [String: [Int: StoredPart]] = [:]
    var objects: [String: Int64] = [:]
    var rows: [UUID128: UploadRecord] = [:]
    var states: [UUID128: UploadState] = [:]
    var locks: [UUID128: String] = [:]
    var stored = 0
    var joins = 0
    var beforeJoin: () -> Void = {}
    var beforeBegin: () -> Void = {}
    var beforeAdd: () -> Void = {}
    var fences: [UUID128: Int64] = [:]
    var lastFence: Int64 = 0
    /// Bytes of the owner's other files.
    var others: Int64 = 0
    var head: [UInt8] = []
    var detected: MediaType?
    var pending: [PendingUpload] = []
    /// Of each deletion.
    var failure: StoreError?
    var fetchFailure: StoreError?
    var fetched: [String] = []
    private var made = 0

    func parts(_ upload: String) throws(StoreError) -> [Int: StoredPart] {
        guard let parts = uploads[upload] else {
            throw StoreError("S3: NoSuchUpload", isTransient: false, isMissing: true)
        }
        return parts
    }

    func beginUpload(of key: String, contentType: String) throws(StoreError) -> String {
        made += 1
        uploads["upload \(made)"] = [:]
        return "upload \(made)"
    }

    func storePart(_ number: Int, of key: String, upload: String, from part: FilePart) throws(StoreError) -> String {
        var parts = try parts(upload)
        stored += 1
        parts[number] = StoredPart(number: number, etag: "etag \(part.offset)", size: part.length)
        uploads[upload] = parts
        return "etag \(part.offset)"
    }

    func completeUpload(of key: String, upload: String, parts: [StoredPart]) throws(StoreError) {
        beforeJoin()
        let known = try self.parts(upload)
        guard parts.allSatisfy({ known[$0.number]?.etag == $0.etag }) else {
            throw StoreError("S3: InvalidPart", isTransient: false)
        }
        joins += 1
        objects[key] = parts.reduce(0) { $0 + $1.size }
        uploads[upload] = nil
    }

    func abortUpload(of key: String, upload: String) throws(StoreError) { uploads[upload] = nil }
    func parts(of key: String, upload: String) throws(StoreError) -> [StoredPart] { Array(try parts(upload).values) }
    func size(of key: String) throws(StoreError) -> Int64? { objects[key] }
    func delete(_ key: String) throws(StoreError) {
        if let failure { throw failure }
        objects[key] = nil
    }
    func pendingUploads() throws(StoreError) -> [PendingUpload] { pending }
    func put(_ key: String, contentType: String, from part: FilePart) throws(StoreError) { objects[key] = part.length }
    func head(of key: String, bytes: Int) throws(StoreError) -> [UInt8] { head }
    func type(of bytes: [UInt8]) -> MediaType? { detected }
    func fetch(_ key: String, into descriptor: Int32, atMost most: Int64?) throws(StoreError) -> Int64 {
        if let fetchFailure { throw fetchFailure }
        fetched.append(key)
        return 0
    }
    func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String { key }
    func partLink(
        _ number: Int, of key: String, upload: String, size: Int64, md5: String, seconds: Int
    ) -> PartLink? { nil }

    func link(of message: UUID128) throws(StoreError) -> String? { nil }
    func find(_ message: UUID128) throws(StoreError) -> UploadRecord? { rows[message] }
    func begin(_ record: UploadRecord, fence: Int64) throws(StoreError) -> UploadRecord? {
        beforeBegin()
        if rows[record.message] == nil { fences[record.message] = fence }
        rows[record.message] = rows[record.message] ?? record
        return rows[record.message]
    }
    func note(mediaType: String, of message: UUID128) throws(StoreError) { rows[message]?.mediaType = mediaType }
    func note(length: Int64, metadata: String?, of message: UUID128) throws(StoreError) {
        rows[message]?.length = length
        rows[message]?.metadata = metadata
    }
    func complete(_ message: UUID128) throws(StoreError) { rows[message]?.isCompleted = true }
    func remove(_ message: UUID128, upload: String, fence: Int64) throws(StoreError) {
        if rows[message]?.upload == upload, fences[message]! <= fence { rows[message] = nil }
    }
    func reserve(_ size: Int64, for message: UUID128, quota: Int64) throws(StoreError) -> Bool {
        quota == 0 || size + others <= quota
    }

    func find(_ message: UUID128) throws(BusError) -> UploadState? { states[message] }
    func put(_ state: UploadState, of message: UUID128, fence: Int64) throws(BusError) -> UploadState? {
        var merged = state
        if let known = states[message], known.upload == state.upload {
            merged.parts.merge(known.parts) { _, known in known }
        }
        states[message] = merged
        return merged
    }
    func add(_ part: StoredPart, to message: UUID128, upload: String) throws(BusError) -> UploadState? {
        beforeAdd()
        guard states[message]?.upload == upload else { return nil }
        states[message]!.parts[part.number] = part
        return states[message]
    }
    func remove(_ message: UUID128, upload: String) throws(BusError) {
        if states[message]?.upload == upload { states[message] = nil }
    }
    func lock(_ lock: UploadLock, of message: UUID128, token: String, milliseconds: Int) throws(BusError) -> Int64? {
        guard locks[message] == nil else { return nil }
        locks[message] = token
        lastFence += 1
        return lastFence
    }
    func unlock(_ lock: UploadLock, of message: UUID128, token: String) throws(BusError) {
        if locks[message] == token { locks[message] = nil }
    }
}
