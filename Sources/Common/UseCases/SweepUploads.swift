public import Logging

/// Aborts uploads that never completed, and deletes the files of deleted messages: in PostgreSQL, Redis and the object
/// store.
///
/// Each step may run twice; the next sweep continues one that was interrupted.
public final class SweepUploads {
    /// Items of each kind per sweep, so that a sweep is short; the next one follows.
    private static let limit = 200

    public struct Swept: Sendable, Equatable {
        public var completed = 0
        public var abandoned = 0
        public var deleted = 0
        public var orphans = 0
        public var failed = 0

        public init() {}
        public var isNothing: Bool { self == Swept() }
    }

    private let upload: UploadFile
    private let records: any UploadSweepRecords
    private let commands: any CommandQueue
    /// Milliseconds.
    private let age: Int64
    private let answerTimeout: Duration
    private let clock: Clock
    private let log: Logger

    /// - Parameter age: milliseconds after which an upload is aborted.
    public init(
        upload: UploadFile, records: any UploadSweepRecords, commands: any CommandQueue, age: Int64,
        answerTimeout: Duration = .seconds(10), clock: @escaping Clock = systemClock, log: Logger
    ) {
        self.upload = upload
        self.records = records
        self.commands = commands
        self.age = age
        self.answerTimeout = answerTimeout
        self.clock = clock
        self.log = log
    }

    /// - Throws: when a server is unavailable; completed work stays done.
    public func sweep() throws(Refusal) -> Swept {
        var swept = Swept()
        let before = clock() - age
        for message in try list({ records throws(StoreError) in try records.stale(before: before, limit: Self.limit) })
        {
            try each(message.id, &swept) { swept throws(Refusal) in try end(message, &swept) }
        }
        for record in try list({ records throws(StoreError) in try records.released(limit: Self.limit) }) {
            try each(record.message, &swept) { swept throws(Refusal) in try delete(record, &swept) }
        }
        try sweepOrphans(before: before, &swept)
        // Their records refuse late chunks for at least a day.
        let longAgo = clock() - max(age, 86_400_000)
        try list { records throws(StoreError) in try records.removeEnded(before: longAgo) }
        return swept
    }

    /// An item that always fails must not block the others.
    private func each(
        _ message: UUID128, _ swept: inout Swept, _ body: (inout Swept) throws(Refusal) -> Void
    ) throws(Refusal) {
        do throws(Refusal) { try body(&swept) } catch {
            guard error.code != .unavailable else { throw error }
            swept.failed += 1
            log.warning("an upload cannot be ended", metadata: ["message": "\(message)", "error": "\(error.text)"])
        }
    }

    /// A complete file that was never announced is announced now.
    private func end(_ message: Message, _ swept: inout Swept) throws(Refusal) {
        var result: UploadFile.Result<Void>?
        do throws(Refusal) {
            result = try upload.resume(message) { file throws(Refusal) in
                try submit(.completeFile(message: message.id, file: file), message)
            }
        } catch {
            // The sender may no longer post there, or the file may not be sent at all.
            let mayEndWell = [.unavailable, .busy, .internalError].contains(error.code)
            guard !mayEndWell else { throw error }
            result = nil
        }
        switch result {
        case .completed, .alreadyCompleted:
            upload.forget(message.id)
            swept.completed += 1
        case .stored, nil:
            try submit(.abandonFile(message: message.id), message)
            try upload.abort(message)
            swept.abandoned += 1
        }
    }

    private func submit(_ action: Command.Action, _ message: Message) throws(Refusal) {
        let now = clock()
        let command = Command(
            id: .v7(at: now), room: message.roomID, actor: message.senderID, acceptedAt: now, action: action)
        switch try commands.submit(command, timeout: answerTimeout) {
        case .queued: throw .busy("the room is slow to answer")
        case .answered(let frame):
            guard frame["Success"]?.bool == true else { throw Refusal(answer: frame["Error"]?.string ?? "") }
        }
    }

    private func delete(_ record: UploadRecord, _ swept: inout Swept) throws(Refusal) {
        let key = UploadFile.key(record.message)
        try upload.stores.objects { store throws(StoreError) in
            if !record.isCompleted { try store.abortUpload(of: key, upload: record.upload) }
            try store.delete(key)
            try store.delete(UploadFile.tailKey(record.message))
            try store.delete(UploadFile.thumbnailKey(record.message))
        }
        try list { records throws(StoreError) in try records.removeReleased(record.message) }
        swept.deleted += 1
    }

    /// Uploads that a worker began in the store and could not record before it died.
    private func sweepOrphans(before: Int64, _ swept: inout Swept) throws(Refusal) {
        var stamp: [UInt8] = []
        appendTimestamp(before, to: &stamp)
        let cutoff = String(decoding: stamp, as: UTF8.self).prefix(19)
        let pending = try upload.stores.objects { store throws(StoreError) in try store.pendingUploads() }
        let old = pending.filter { $0.key.hasPrefix(UploadFile.prefix) && $0.begunAt.prefix(19) <= cutoff }
        guard !old.isEmpty else { return }
        let known = try list { records throws(StoreError) in try records.known(old.map(\.upload)) }
        for orphan in old.prefix(Self.limit) where !known.contains(orphan.upload) {
            try upload.stores.objects { store throws(StoreError) in
                try store.abortUpload(of: orphan.key, upload: orphan.upload)
            }
            swept.orphans += 1
        }
    }

    private func list<T>(_ body: (any UploadSweepRecords) throws(StoreError) -> T) throws(Refusal) -> T {
        do throws(StoreError) { return try body(records) } catch {
            log.error("the database failed", metadata: ["error": "\(error)"])
            guard error.isTransient else { throw Refusal(.internalError, "the database refuses it") }
            throw .unavailable("the database")
        }
    }
}
