import ChatAdapters
import ChatCore
import Logging
import Testing

private let hour: Int64 = 3_600_000
private let day = 24 * hour
private let now: Int64 = 1_700_000_000_000
private let ann = UUID128(high: 1, low: 1)
private let room = UUID128(high: 2, low: 2)
private let big: Int64 = 5 << 20

/// The database.
private final class Records: UploadSweepRecords {
    var waiting: [Message] = []
    var freed: [UploadRecord] = []
    var recorded: Set<String> = []
    var endedBefore: Int64?
    var failure: StoreError?

    func stale(before time: Int64, limit: Int) throws(StoreError) -> [Message] {
        if let failure { throw failure }
        return Array(waiting.filter { $0.createdAt < time }.prefix(limit))
    }
    func released(limit: Int) throws(StoreError) -> [UploadRecord] { Array(freed.prefix(limit)) }
    func known(_ uploads: [String]) throws(StoreError) -> Set<String> { recorded.intersection(uploads) }
    func removeEnded(before time: Int64) throws(StoreError) { endedBefore = time }
    func removeReleased(_ message: UUID128) throws(StoreError) { freed.removeAll { $0.message == message } }
}

/// Executes everything at once, as a room that is never busy; or answers as it is told.
private final class Commands: CommandQueue {
    /// In order, by the message that each is about.
    var submitted: [(name: String, message: UUID128)] = []
    var answer: (Command.Action) throws(Refusal) -> CommandAnswer = { _ in .done }

    func submit(_ command: Command, timeout: Duration) throws(Refusal) -> CommandAnswer {
        let answer = try answer(command.action)
        switch command.action {
        case .completeFile(let message, _): submitted.append(("complete", message))
        case .abandonFile(let message): submitted.append(("abandon", message))
        default: submitted.append(("?", command.room))
        }
        return answer
    }
}

extension CommandAnswer {
    fileprivate static var done: CommandAnswer { .answered(.map([.init("Success", .bool(true))])) }
    fileprivate static func refused(_ error: String) -> CommandAnswer {
        .answered(.map([.init("Success", .bool(false)), .init("Error", .string(error))]))
    }
}

@Suite struct SweepUploadsTests {
    private let memory = MemoryUploads()
    private let records = Records()
    private let commands = Commands()
    private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let upload: UploadFile
    private let sweep: SweepUploads

    init() {
        upload = UploadFile(
            UploadStores(objects: memory, records: memory, progress: memory, pause: { _ in }, log: log),
            rules: UploadRules(maxSize: 20 << 20, quota: 0),
            inspection: InspectFile(
                typer: memory, scanner: nil, rules: .standard, files: DiskWorkFiles("/tmp"), log: log))
        sweep = SweepUploads(
            upload: upload, records: records, commands: commands, age: hour, clock: { now }, log: log)
    }

    /// A message that waits for its file, with the first `parts` of two.
    @discardableResult
    private func message(_ number: UInt64, parts: Int, sentAt time: Int64 = now - 2 * hour) throws -> Message {
        let message = Message(
            id: UUID128(high: 3, low: number), roomID: room, senderID: ann, seq: 1, changeSeq: 1,
            content: "film.mp4", contentType: .video, messageType: .direct, status: .uploading, createdAt: time)
        records.waiting.append(message)
        for index in 1...2 where index <= parts {
            let chunk = Chunk(
                index: index, total: 2, bytes: FilePart(descriptor: -1, offset: Int64(number), length: big),
                md5: { "etag \(number)" }, mediaType: MediaType("video/webm"))
            // The worker died between joining and announcing.
            _ = try? upload.store(chunk, of: message) { (_: FileInfo) throws(Refusal) in
                throw Refusal.unavailable("the queue")
            }
        }
        return message
    }

    private func names(of message: Message) -> [String] {
        commands.submitted.filter { $0.message == message.id }.map(\.name)
    }

    @Test func aWholeFileThatNobodyAnnouncedIsAnnounced() throws {
        let message = try message(1, parts: 2)
        var expected = SweepUploads.Swept()
        expected.completed = 1
        #expect(try sweep.sweep() == expected)
        #expect(names(of: message) == ["complete"])
        #expect(memory.objects[UploadFile.key(message)] == 2 * big)
        #expect(memory.rows[message.id]?.isCompleted == true)
        #expect(memory.states.isEmpty)
    }

    @Test func aFileThatNeverCompletedIsAbandonedAndLeavesNothing() throws {
        let message = try message(1, parts: 1)
        // Nothing arrived at all.
        let empty = try self.message(2, parts: 0)
        #expect(try sweep.sweep().abandoned == 2)
        #expect(names(of: message) == ["abandon"])
        #expect(names(of: empty) == ["abandon"])
        #expect(memory.rows.isEmpty && memory.states.isEmpty && memory.uploads.isEmpty && memory.objects.isEmpty)
    }

    @Test func aYoungUploadIsLeftAlone() throws {
        try message(1, parts: 1, sentAt: now - hour)
        #expect(try sweep.sweep().isNothing)
        #expect(memory.uploads.count == 1 && commands.submitted.isEmpty)
    }

    /// The room hears of it first: a file that is gone would leave a message that waits for ever.
    @Test func nothingIsDeletedBeforeTheRoomKnows() throws {
        let message = try message(1, parts: 1)
        commands.answer = { _ in .queued }
        #expect(try sweep.sweep().failed == 1)
        #expect(memory.uploads.count == 1)
        #expect(memory.rows[message.id] != nil)
    }

    @Test func aFileThatItsSenderMayNoLongerSendIsAbandoned() throws {
        let message = try message(1, parts: 2)
        commands.answer = { action in
            guard case .completeFile = action else { return .done }
            return .refused("forbidden: no longer")
        }
        #expect(try sweep.sweep().abandoned == 1)
        #expect(names(of: message) == ["complete", "abandon"])
        #expect(memory.objects.isEmpty && memory.rows.isEmpty)
    }

    @Test(arguments: ["busy: later", "internal: it is logged"])
    func aFileThatMayStillBeSentStays(_ error: String) throws {
        let message = try message(1, parts: 2)
        commands.answer = { _ in .refused(error) }
        #expect(try sweep.sweep().failed == 1)
        #expect(memory.objects[UploadFile.key(message)] == 2 * big)
        commands.answer = { _ in .done }
        #expect(try sweep.sweep().completed == 1)
    }

    @Test func anUploadThatAlwaysFailsDoesNotHoldUpTheOthers() throws {
        let bad = try message(1, parts: 1)
        let good = try message(2, parts: 1)
        commands.answer = { action in
            if case .abandonFile(bad.id) = action { return .refused("internal: no") }
            return .done
        }
        let swept = try sweep.sweep()
        #expect(swept.failed == 1 && swept.abandoned == 1)
        #expect(memory.rows[good.id] == nil && memory.rows[bad.id] != nil)
    }

    @Test func aServerThatIsAwayEndsTheSweep() throws {
        try message(1, parts: 1)
        try message(2, parts: 1)
        var asked = 0
        commands.answer = { _ throws(Refusal) in
            asked += 1
            throw .unavailable("the queue")
        }
        #expect { try sweep.sweep() } throws: { ($0 as? Refusal)?.code == .unavailable }
        #expect(asked == 1)
        #expect(memory.uploads.count == 2)
        records.failure = StoreError("away", isTransient: true)
        #expect { try sweep.sweep() } throws: { ($0 as? Refusal)?.code == .unavailable }
    }

    @Test func theFilesOfADeletedMessageAreDeleted() throws {
        let id = UUID128(high: 3, low: 9)
        let keys = [UploadFile.key(id), "tails/\(id)", UploadFile.thumbnailKey(id)]
        for key in keys { memory.objects[key] = 7 }
        memory.objects["files/other"] = 7
        memory.uploads["unfinished"] = [:]
        records.freed = [UploadRecord(message: id, upload: "unfinished", total: 1)]
        #expect(try sweep.sweep().deleted == 1)
        #expect(memory.objects[UploadFile.key(id)] == nil && memory.objects[UploadFile.thumbnailKey(id)] == nil)
        #expect(memory.objects["files/other"] == 7)
        #expect(memory.uploads.isEmpty)
        #expect(records.freed.isEmpty)
    }

    /// Without its record nobody would find the file again.
    @Test func aRecordStaysUntilItsFileIsGone() throws {
        records.freed = [UploadRecord(message: UUID128(high: 3, low: 9), upload: "u", total: 1, isCompleted: true)]
        memory.failure = StoreError("S3: AccessDenied", isTransient: false)
        #expect(try sweep.sweep().failed == 1)
        #expect(records.freed.count == 1)
        memory.failure = nil
        #expect(try sweep.sweep().deleted == 1)
    }

    @Test func uploadsWithoutARecordAreAbortedOnceTheyAreOld() throws {
        func pending(_ upload: String, _ key: String, _ time: String) -> PendingUpload {
            memory.uploads[upload] = [:]
            return PendingUpload(key: key, upload: upload, begunAt: time)
        }
        // Now is 2023-11-14T22:13:20Z.
        memory.pending = [
            pending("old", "files/1", "2023-11-14T21:13:20.000Z"), pending("young", "files/2", "2023-11-14T21:13:21Z"),
            pending("known", "files/3", "2023-11-01T00:00:00Z"), pending("foreign", "backup/1", "2023-11-01T00:00:00Z"),
        ]
        records.recorded = ["known"]
        #expect(try sweep.sweep().orphans == 1)
        #expect(Set(memory.uploads.keys) == ["young", "known", "foreign"])
    }

    /// They refuse late chunks.
    @Test func endedRecordsAreKeptForADayAtLeast() throws {
        _ = try sweep.sweep()
        #expect(records.endedBefore == now - day)
        let patient = SweepUploads(
            upload: upload, records: records, commands: commands, age: 3 * day, clock: { now }, log: log)
        _ = try patient.sweep()
        #expect(records.endedBefore == now - 3 * day)
    }
}
