import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct UploadStoreTests {
    private let message = UUID128.v7(at: systemClock())

    private func part(_ number: Int, _ etag: String = "e") -> StoredPart {
        StoredPart(number: number, etag: etag, size: Int64(number) * 10)
    }

    @Test func redisHoldsHowFarItIs() throws {
        let progress = RedisUploadProgress(try TestServers.redis())
        func find() throws -> UploadState? { try progress.find(message) }
        func put(_ state: UploadState, _ fence: Int64) throws -> UploadState? {
            try progress.put(state, of: message, fence: fence)
        }
        #expect(try find() == nil)
        #expect(try progress.add(part(1), to: message, upload: "a") == nil)
        #expect(try find() == nil)
        let begun = UploadState(upload: "a", total: 3, parts: [part(1), part(3)])
        #expect(try put(begun, 5) == begun)
        #expect(try progress.add(part(2, "x,y"), to: message, upload: "b") == nil)
        let state = try progress.add(part(2, "x,y"), to: message, upload: "a")
        #expect(state == UploadState(upload: "a", total: 3, parts: [part(1), part(2, "x,y"), part(3)]))
        #expect(state?.isWhole == true && state?.size == 60)
        #expect(try find() == state)
        // A late listing adds missing parts and removes nothing; an older lock holder changes nothing.
        #expect(try put(UploadState(upload: "a", total: 3, parts: [part(2, "old")]), 6) == state)
        #expect(try put(UploadState(upload: "b", total: 1), 4) == nil)
        #expect(try put(UploadState(upload: "b", total: 1), 7) == UploadState(upload: "b", total: 1))
        let ttl = try TestServers.redis().command([RedisWord(word: "TTL"), RedisWord(word: RedisKey.upload(message))])
        guard case .int(let seconds) = ttl else { throw BusError("no TTL") }
        #expect((86_300...86_400).contains(seconds))
        try progress.remove(message, upload: "a")
        #expect(try find() != nil)
        try progress.remove(message, upload: "b")
        #expect(try find() == nil)
    }

    @Test func whatIsFromBeforeARestartOfRedisDoesNotCount() throws {
        let redis = try TestServers.redis()
        let progress = RedisUploadProgress(redis)
        func find() throws -> UploadState? { try progress.find(message) }
        _ = try progress.put(UploadState(upload: "a", total: 3, parts: [part(1)]), of: message, fence: 5)
        try redis.command(["HSET", RedisKey.upload(message), "run", "another"].map { RedisWord(word: $0) })
        #expect(try find() == nil)
        #expect(try progress.add(part(2), to: message, upload: "a") == nil)
        let listed = UploadState(upload: "a", total: 3, parts: [part(1), part(2)])
        #expect(try progress.put(listed, of: message, fence: 1) == listed)
        #expect(try find() == listed)
    }

    @Test func aLockIsItsOwnersAloneAndRunsOut() throws {
        let redis = try TestServers.redis()
        let progress = RedisUploadProgress(redis)
        func lock(_ token: String, _ milliseconds: Int = 10_000) throws -> Int64? {
            try progress.lock(.state, of: message, token: token, milliseconds: milliseconds)
        }
        let first = try #require(try lock("a"))
        #expect(try lock("b") == nil)
        #expect(try progress.lock(.writer, of: message, token: "b", milliseconds: 10_000) != nil)
        try progress.unlock(.state, of: message, token: "b")
        #expect(try lock("b") == nil)
        try progress.unlock(.state, of: message, token: "a")
        let second = try #require(try lock("b", 20))
        #expect(second > first)
        usleep(100_000)
        // Redis lost the last fence, too.
        try redis.command(["DEL", RedisKey.uploadFence].map { RedisWord(word: $0) })
        let third = try #require(try lock("c"))
        #expect(third > second)
        try progress.unlock(.state, of: message, token: "c")
    }

    /// A message's row, without the queue.
    private func insertMessage(_ connection: PostgresConnection) throws {
        let (room, user) = (UUID128.v7(at: systemClock()), UUID128.v7(at: systemClock()))
        _ = try connection.pipeline([
            """
            INSERT INTO rooms (id, type, owner_id, member_count, last_activity_at, created_at, created_by)
            VALUES (\(room), 2, \(user), 1, now(), now(), \(user))
            """,
            """
            INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status,
                created_at)
            VALUES (\(message), \(room), 1, 1, \(user), 'a.png', 2, 1, 2, now())
            """,
        ])
    }

    @Test func postgresKeepsTheFirstRecordOfAMessage() throws {
        let connection = try TestDatabase().connection()
        let records = PostgresUploadRecords(connection)
        func find() throws -> UploadRecord? { try records.find(message) }
        let record = UploadRecord(message: message, upload: "a", total: 3)
        #expect(try records.begin(record, fence: 5) == nil)
        try insertMessage(connection)
        #expect(try records.begin(record, fence: 5) == record)
        #expect(try records.begin(UploadRecord(message: message, upload: "b", total: 4), fence: 6) == record)
        try records.note(mediaType: "image/png", of: message)
        try records.remove(message, upload: "b", fence: 9)
        try records.remove(message, upload: "a", fence: 4)
        #expect(try find()?.mediaType == "image/png")
        try records.complete(message)
        try records.complete(message)
        #expect(try find()?.isCompleted == true)
        try records.remove(message, upload: "a", fence: 5)
        #expect(try find() == nil)
    }

    /// The whole use case with the real servers, with a loss of Redis' data in between.
    @Test func aFileThroughTheRealStores() throws {
        let connection = try TestDatabase().connection()
        try insertMessage(connection)
        let objects = S3ObjectStore(TestServers.settings!.storage)
        let progress = RedisUploadProgress(try TestServers.redis())
        let upload = UploadFile(
            UploadStores(
                objects: objects, records: PostgresUploadRecords(connection), progress: progress,
                pause: { usleep(useconds_t($0) * 1000) }, log: Logger(label: "test")),
            rules: UploadRules(maxSize: 20 << 20),
            inspection: InspectFile(
                typer: MagicContentTyper(), scanner: nil, rules: .standard, files: DiskWorkFiles("/tmp"),
                log: Logger(label: "test")))
        let message = Message(
            id: message, roomID: self.message, senderID: self.message, seq: 1, changeSeq: 1, content: "a.zip",
            contentType: .file, messageType: .direct, status: .uploading, createdAt: 0)
        var path = Array("/tmp/chat-test-XXXXXX".utf8CString)
        let file = mkstemp(&path)
        unlink(path)
        defer { close(file) }
        #expect(ftruncate(file, 6 << 20) == 0)
        func send(_ index: Int) throws -> FileInfo? {
            let bytes = FilePart(descriptor: file, offset: 0, length: index == 1 ? 5 << 20 : 77)
            let result = try upload.store(Chunk(index: index, total: 2, bytes: bytes), of: message) { $0 }
            guard case .completed(let info) = result else { return nil }
            return info
        }
        #expect(try send(2) == nil)
        try TestServers.redis().command(["DEL", RedisKey.upload(message.id)].map { RedisWord(word: $0) })
        #expect(try send(1) == FileInfo(name: "a.zip", size: (5 << 20) + 77, contentType: "application/zip"))
        // The room was not told: a second try, now without Redis' data; the object exists.
        try TestServers.redis().command(["DEL", RedisKey.upload(message.id)].map { RedisWord(word: $0) })
        #expect(try send(1)?.size == (5 << 20) + 77)
        upload.forget(message.id)
        #expect(try send(1) == nil)
        try upload.abort(message)
        #expect(try objects.size(of: UploadFile.key(message)) == nil)
    }
}
