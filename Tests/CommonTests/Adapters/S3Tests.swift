import ChatAdapters
import ChatCore
import Glibc
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct S3ObjectStoreTests {
    private let store = S3ObjectStore(TestServers.settings!.storage)
    private let key = "test/\(UUID128.v7(at: systemClock()))"

    /// A file without a name that holds `bytes`.
    private func file(_ bytes: [UInt8]) -> Int32 {
        var path = Array("/tmp/chat-test-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        unlink(path)
        _ = write(descriptor, bytes, bytes.count)
        return descriptor
    }

    private func get(_ link: String) throws -> [UInt8] {
        let pipe = try #require(popen("curl -sf '\(link)'", "r"))
        defer { pclose(pipe) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            guard count > 0 else { return bytes }
            bytes += buffer[0..<count]
        }
    }

    @Test func partsInAnyOrderBecomeOneObject() throws {
        let first = [UInt8](repeating: 1, count: 5 << 20)
        let second: [UInt8] = [2, 3, 4]
        let descriptor = file(first + second)
        defer { close(descriptor) }
        #expect(try store.size(of: key) == nil)
        let upload = try store.beginUpload(of: key, contentType: "image/png")
        var parts: [StoredPart] = []
        for (number, offset, length) in [(2, 5 << 20, 3), (1, 0, 5 << 20), (2, 5 << 20, 3)] {
            let part = FilePart(descriptor: descriptor, offset: Int64(offset), length: Int64(length))
            let etag = try store.storePart(number, of: key, upload: upload, from: part)
            parts.removeAll { $0.number == number }
            parts.append(StoredPart(number: number, etag: etag, size: Int64(length)))
        }
        parts.sort { $0.number < $1.number }
        #expect(try store.parts(of: key, upload: upload) == parts)
        try store.completeUpload(of: key, upload: upload, parts: parts)
        #expect(try store.size(of: key) == Int64(first.count + second.count))
        let link = store.downloadLink(
            for: key, name: "ä b'\".png", contentType: "image/png", asAttachment: true, seconds: 60)
        #expect(try get(link) == first + second)
        #expect(try get(link.replacing("Expires=60", with: "Expires=61")).isEmpty)
        try store.delete(key)
        #expect(try store.size(of: key) == nil)
    }

    @Test func anAbortedUploadIsGoneAndAbortingAgainIsFine() throws {
        let upload = try store.beginUpload(of: key, contentType: "text/plain")
        try store.abortUpload(of: key, upload: upload)
        try store.abortUpload(of: key, upload: upload)
        let error = #expect(throws: StoreError.self) { try store.parts(of: key, upload: upload) }
        #expect(error?.isTransient == false)
    }

    @Test func nobodyThere() throws {
        var settings = TestServers.settings!.storage
        settings.endpoint = "http://127.0.0.1:1"
        let error = #expect(throws: StoreError.self) { try S3ObjectStore(settings).size(of: key) }
        #expect(error?.isTransient == true)
        settings = TestServers.settings!.storage
        settings.secretKey = "wrong"
        let refused = #expect(throws: StoreError.self) {
            try S3ObjectStore(settings).beginUpload(of: key, contentType: "a/b")
        }
        #expect(refused?.isTransient == false)
    }
}
