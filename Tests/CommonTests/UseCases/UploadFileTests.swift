import ChatAdapters
import ChatCore
import Logging
import Testing

private let ann = UUID128(high: 1, low: 1)
private let room = UUID128(high: 2, low: 2)
private let big: Int64 = 5 << 20

@Suite struct UploadFileTests {
    private let memory = MemoryUploads()
    private let message = Message(
        id: UUID128(high: 3, low: 3), roomID: room, senderID: ann, seq: 1, changeSeq: 1, content: "film.mp4",
        contentType: .video, messageType: .direct, status: .uploading, createdAt: 0)

    private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func upload(quota: Int64 = 0, pause: @escaping (Int) -> Void = { _ in }) -> UploadFile {
        UploadFile(
            UploadStores(
                objects: memory, records: memory, progress: memory, pause: pause, log: log),
            rules: UploadRules(maxSize: 20 << 20, quota: quota),
            inspection: InspectFile(
                typer: memory, scanner: nil, rules: .standard, files: DiskWorkFiles("/tmp"), log: log))
    }

    /// `version`: other bytes of the same chunk.
    private func chunk(_ index: Int, of total: Int, _ size: Int64 = big, version: Int64 = 0) -> Chunk {
        Chunk(
            index: index, total: total, bytes: FilePart(descriptor: -1, offset: version, length: size),
            md5: { "etag \(version)" }, mediaType: MediaType("video/webm"))
    }

    /// Returns the file of the announcement; nil: parts are missing.
    private func send(_ chunk: Chunk, forget: Bool = true) throws(Refusal) -> FileInfo? {
        let upload = upload()
        let result = try upload.store(chunk, of: message) { file throws(Refusal) in
            if forget { upload.forget(message.id) }
            return file
        }
        guard case .completed(let file) = result else { return nil }
        return file
    }

    @Test func theLastMissingChunkCompletes() throws {
        #expect(try send(chunk(3, of: 3, 7)) == nil)
        #expect(try send(chunk(1, of: 3)) == nil)
        #expect(try send(chunk(1, of: 3)) == nil)
        #expect(memory.stored == 2)
        let file = try send(chunk(2, of: 3))
        #expect(file == FileInfo(name: "film.mp4", size: 2 * big + 7, contentType: "video/webm"))
        #expect(memory.rows[message.id]?.isCompleted == true)
        #expect(memory.states.isEmpty && memory.locks.isEmpty)
        // A late chunk.
        guard case .alreadyCompleted = try upload().store(chunk(2, of: 3), of: message, finish: { $0 }) else {
            Issue.record("a repeat is not a repeat")
            return
        }
        #expect(memory.joins == 1)
    }

    @Test func aWorkerThatDiesAfterJoiningLosesNothing() throws {
        _ = try send(chunk(1, of: 2))
        #expect(throws: Refusal.self) {
            _ = try upload().store(chunk(2, of: 2, 5), of: message) { file throws(Refusal) in
                throw Refusal.unavailable("the queue")
            }
        }
        #expect(memory.joins == 1)
        // Redis has all parts; then it loses them.
        #expect(try send(chunk(2, of: 2, 5), forget: false)?.size == big + 5)
        memory.states = [:]
        guard case .completed(let file)? = try upload().resume(message, finish: { $0 }) else {
            Issue.record("not resumed")
            return
        }
        #expect(file.size == big + 5)
        #expect(memory.joins == 1)
    }

    @Test func whatRedisForgotIsAskedOfTheStore() throws {
        _ = try send(chunk(1, of: 3))
        memory.states = [:]
        _ = try send(chunk(3, of: 3, 9))
        #expect(memory.states[message.id]?.received == [1, 3])
        memory.states = [:]
        #expect(try send(chunk(2, of: 3))?.size == 2 * big + 9)
    }

    @Test func aPartReplacedWhileJoining() throws {
        _ = try send(chunk(1, of: 2))
        var isFirst = true
        let memory = memory
        memory.beforeJoin = {
            guard isFirst else { return }
            isFirst = false
            memory.uploads["upload 1"]![1] = StoredPart(number: 1, etag: "other", size: big)
        }
        #expect(try send(chunk(2, of: 2, 5))?.size == big + 5)
    }

    @Test func tooLargeTogether() throws {
        _ = try send(chunk(1, of: 2, 15 << 20))
        #expect { try send(chunk(2, of: 2, (5 << 20) + 1)) } throws: { ($0 as? Refusal)?.code == .tooLarge }
        // Two concurrent chunks that did not see each other.
        memory.states[message.id]!.parts[2] = StoredPart(number: 2, etag: "x", size: 6 << 20)
        memory.uploads["upload 1"]![2] = StoredPart(number: 2, etag: "x", size: 6 << 20)
        #expect { try upload().resume(message) { $0 } } throws: { ($0 as? Refusal)?.code == .tooLarge }
        #expect(memory.rows.isEmpty && memory.states.isEmpty && memory.uploads.isEmpty)
        #expect(try send(chunk(1, of: 1, 5))?.size == 5)
    }

    @Test func anUploadThatTheStoreGaveUpBeginsAnew() throws {
        _ = try send(chunk(1, of: 2))
        memory.uploads = [:]
        #expect { try send(chunk(2, of: 2, 5)) } throws: { ($0 as? Refusal)?.code == .conflict }
        #expect(try send(chunk(2, of: 2, 5)) == nil)
        #expect(try send(chunk(1, of: 2))?.size == big + 5)
    }

    @Test func anAbortedUploadLeavesNothing() throws {
        _ = try send(chunk(1, of: 2))
        try upload().abort(message)
        try upload().abort(message)
        #expect(memory.rows.isEmpty && memory.states.isEmpty && memory.uploads.isEmpty && memory.locks.isEmpty)
    }

    @Test func redisForgetsBetweenStoringAndAdding() throws {
        _ = try send(chunk(1, of: 3))
        let memory = memory
        let message = message
        memory.beforeAdd = {
            memory.beforeAdd = {}
            // Another worker had listed the parts before this one was stored.
            memory.states[message.id] = nil
        }
        #expect(try send(chunk(2, of: 3)) == nil)
        #expect(memory.states[message.id]?.received == [1, 2])
        #expect(try send(chunk(3, of: 3, 9))?.size == 2 * big + 9)
    }

    @Test func whoeverHeldALapsedLockEndsNothing() throws {
        let memory = memory
        let message = message
        var isFirst = true
        memory.beforeBegin = {
            guard isFirst else { return }
            isFirst = false
            // Its lock expired while the store was slow, and another upload has begun.
            memory.locks = [:]
            _ = try? self.send(self.chunk(1, of: 2))
        }
        #expect(try send(chunk(2, of: 2, 5))?.size == big + 5)
        #expect(memory.joins == 1 && memory.uploads.isEmpty)
        try memory.remove(message.id, upload: memory.rows[message.id]!.upload, fence: 0)
        #expect(memory.rows[message.id] != nil)
    }

    @Test func aQuotaCountsAllFilesOfAUser() throws {
        memory.others = 10
        func send(_ chunk: Chunk) throws(Refusal) { _ = try upload(quota: big + 15).store(chunk, of: message) { $0 } }
        #expect { try send(chunk(1, of: 2, big + 6)) } throws: { ($0 as? Refusal)?.code == .quotaExceeded }
        try send(chunk(1, of: 2))
        #expect { try send(chunk(2, of: 2, 6)) } throws: { ($0 as? Refusal)?.code == .quotaExceeded }
        #expect(memory.states[message.id]?.received == [1])
        memory.beforeJoin = { self.memory.others = 11 }
        #expect { try send(chunk(2, of: 2, 5)) } throws: { ($0 as? Refusal)?.code == .quotaExceeded }
        #expect(memory.rows.isEmpty && memory.states.isEmpty && memory.uploads.isEmpty && memory.objects.isEmpty)
    }

    @Test func aFileOfTheWrongKindIsRefusedAndLeavesNothing() throws {
        memory.detected = MediaType("text/html")
        #expect { try send(chunk(1, of: 1)) } throws: { ($0 as? Refusal)?.code == .unsupportedMediaType }
        #expect(memory.uploads.isEmpty)
        // Parts that no worker saw.
        memory.detected = nil
        _ = try send(chunk(1, of: 2))
        memory.detected = MediaType("application/x-dosexec")
        #expect { try send(chunk(2, of: 2, 5)) } throws: { ($0 as? Refusal)?.code == .unsupportedMediaType }
        #expect(memory.rows.isEmpty && memory.states.isEmpty && memory.uploads.isEmpty && memory.objects.isEmpty)
    }

    @Test func totalsMustAgree() throws {
        _ = try send(chunk(1, of: 2))
        #expect { try send(chunk(3, of: 3)) } throws: { ($0 as? Refusal)?.field == "TotalChunk" }
        var sent = message
        sent.status = .sent
        #expect { try upload().store(chunk(1, of: 3), of: sent) { $0 } } throws: { ($0 as? Refusal)?.code == .conflict }
        guard case .alreadyCompleted = try upload().store(chunk(1, of: 2), of: sent, finish: { $0 }) else {
            Issue.record("a repeat is not a repeat")
            return
        }
    }

    @Test func aLockThatIsFreedIsWaitedFor() throws {
        let memory = memory
        var waits = 0
        memory.locks[message.id] = "somebody"
        let upload = upload { _ in
            waits += 1
            if waits == 3 { memory.locks = [:] }
        }
        guard case .completed(let file) = try upload.store(chunk(1, of: 1, 5), of: message, finish: { $0 }) else {
            Issue.record("not completed")
            return
        }
        #expect(waits == 3 && file.size == 5)
    }

    @Test(
        arguments: [
            (0, 1, 5, ErrorCode.invalid), (2, 1, 5, .invalid), (1, 0, 5, .invalid), (1, 10_001, big, .invalid),
            (1, 2, 0, .invalid),
            (1, 2, big - 1, .invalid), (1, 1, (20 << 20) + 1, .tooLarge), (10_000, 10_000, 1, .tooLarge),
        ] as [(Int, Int, Int64, ErrorCode)])
    func chunksHaveRules(_ index: Int, _ total: Int, _ size: Int64, _ code: ErrorCode) {
        #expect { try send(chunk(index, of: total, size)) } throws: { ($0 as? Refusal)?.code == code }
        #expect(memory.uploads.isEmpty)
    }
}

@Suite struct MediaTypeTests {
    @Test(arguments: [
        ("image/png", true, false), ("Video/MP4; codecs=x", true, false), ("application/pdf", true, false),
        ("text/html", false, true), ("image/svg+xml", false, true), ("application/xhtml+xml", false, true),
        ("text/plain", false, false), ("application/zip", false, false), ("video/svg+xml", false, true),
        ("audio/mpegurl", false, false), ("application/vnd.apple.mpegurl", false, false),
        ("audio/x-scpls", false, false), ("Video/X-MS-ASX", false, false), ("audio/x-pn-realaudio", false, false),
        ("audio/mpeg", true, false), ("video/mpeg", true, false),
        ("text/javascript", false, true), ("application/x-javascript", false, true),
    ])
    func whatIsShownAndWhatRuns(_ text: String, _ isInline: Bool, _ isActive: Bool) throws {
        let type = try #require(MediaType(text))
        #expect(type.isShownInline == isInline)
        #expect(type.isActive == isActive)
    }

    @Test func readsThem() {
        for text in [
            "", "png", "image/", "/png", "a/b/c", "image/p\nng", "image/ä", "a/" + String(repeating: "x", count: 128),
        ] {
            #expect(MediaType(text) == nil)
        }
        #expect(MediaType(fileName: "A.PNG").description == "image/png")
        #expect(MediaType(fileName: "png") == .unknown)
        #expect(MediaType(fileName: "a.") == .unknown)
    }
}
