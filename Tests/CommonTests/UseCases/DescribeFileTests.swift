import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport
import Testing

private let me = UUID128(high: 3, low: 3)

@Suite struct DescribeFileTests {
    /// Programs that say what a test wants; they write the files that they name.
    private final class Tools: MediaTools {
        var picture = PictureDescription(hasLostLocation: false)
        var milliseconds: Int?
        var seen: [String] = []
        /// The new length of the inspected file; nil: it stays as it is.
        var rewritten: Int?
        var thumbnail: Int?

        func describe(picture file: String) -> PictureDescription {
            seen.append(file)
            if let rewritten { write(file, rewritten) }
            guard let thumbnail else { return picture }
            var made = picture
            made.thumbnail = file + ".jpg"
            write(file + ".jpg", thumbnail)
            return made
        }

        func duration(of file: String) -> Int? {
            seen.append(file)
            return milliseconds
        }

        private func write(_ path: String, _ length: Int) {
            let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            defer { close(file) }
            #expect(Glibc.write(file, [UInt8](repeating: 1, count: length), length) == length)
        }
    }

    private let memory = MemoryUploads()
    private let tools = Tools()
    private let folder: String
    private let log = MemoryLog()

    init() {
        folder = "/tmp/describe-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
    }

    private func describe(_ message: Message) throws(Refusal) -> FileInfo? {
        let stores = UploadStores(
            objects: memory, records: memory, progress: memory, pause: { _ in }, log: log.log)
        return try DescribeFile(stores: stores, tools: tools, files: DiskWorkFiles(folder), log: log.log)
            .describe(message)
    }

    private func message(_ type: String, size: Int64 = 5000, forwardedFrom: UUID128? = nil) -> Message {
        Message(
            id: me, roomID: me, senderID: me, seq: 1, changeSeq: 1, content: "x", contentType: .image,
            messageType: .direct, forwardedFrom: forwardedFrom,
            file: FileInfo(name: "x", size: size, contentType: type), createdAt: 0)
    }

    /// Nothing may stay behind, whatever happened.
    private var isClean: Bool {
        defer { rmdir(folder) }
        return rmdir(folder) == 0
    }

    @Test func aPictureGetsItsMeasuresAndAThumbnail() throws {
        tools.picture.media = FileMedia(width: 3, height: 4, blurHash: "abc")
        tools.thumbnail = 321
        let file = try describe(message("image/png"))
        #expect(file?.media == FileMedia(width: 3, height: 4, blurHash: "abc"))
        #expect(file?.thumbnailURL == FileInfo.thumbnailPath(of: me))
        #expect(memory.objects == ["thumbnails/\(me)": 321])
        #expect(isClean)
    }

    @Test func aPictureWithALocationIsStoredAgainWithItsNewSize() throws {
        (tools.rewritten, tools.picture.hasLostLocation) = (4000, true)
        let file = try describe(message("image/jpeg"))
        #expect(file?.size == 4000 && memory.objects == ["files/\(me)": 4000])
        #expect(log.lines.count == 1)
        #expect(isClean)
    }

    /// Its object is the first message's.
    @Test func aForwardedPictureIsReadAndStoredWhereItIs() throws {
        let first = UUID128(high: 4, low: 4)
        (tools.rewritten, tools.picture.hasLostLocation) = (4000, true)
        _ = try describe(message("image/jpeg", forwardedFrom: first))
        #expect(memory.objects == ["files/\(first)": 4000] && memory.fetched == ["files/\(first)"])
    }

    @Test func nothingChangedIsNoNews() throws {
        #expect(try describe(message("image/gif")) == nil)
        #expect(tools.seen.count == 1 && memory.objects.isEmpty)
        #expect(isClean)
    }

    @Test(arguments: ["video/mp4", "audio/mpeg"])
    func videoAndAudioGetTheirDuration(type: String) throws {
        tools.milliseconds = 61_000
        #expect(try describe(message(type))?.media == FileMedia(duration: 61_000))
        tools.milliseconds = nil
        #expect(try describe(message(type)) == nil)
        #expect(isClean)
    }

    /// No program sees these: they may be written for one of its faults, or cost too much.
    @Test(arguments: [
        ("image/svg+xml", 5000), ("application/pdf", 5000), ("text/html", 5000), ("application/zip", 5000),
        ("nonsense", 5000), ("image/png", 256 << 20 + 1),
    ])
    func otherFilesAreNotInspected(type: String, size: Int) throws {
        #expect(try describe(message(type, size: Int64(size))) == nil)
        #expect(tools.seen.isEmpty && memory.fetched.isEmpty)
        #expect(isClean)
    }

    @Test func aMessageWithoutAFileIsNotInspected() throws {
        var empty = message("image/png")
        empty.file = nil
        #expect(try describe(empty) == nil)
    }

    @Test func aStoreThatIsAwayLeavesNothingBehind() {
        memory.fetchFailure = StoreError("away", isTransient: true)
        let refusal = #expect(throws: Refusal.self) { try describe(message("image/png")) }
        #expect(refusal?.code == .unavailable && tools.seen.isEmpty)
        #expect(isClean)
    }
}
