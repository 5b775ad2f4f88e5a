import ChatCore
import Glibc
import TestSupport
import Testing

@testable import ChatAdapters

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct ObjectStoreTests {
    /// The same guarantees for every kind of store.
    enum Kind: CaseIterable {
        case s3, disk
        /// The bucket's name is part of the host name; the region is not the default one.
        case s3VirtualHost

        func open() -> any ObjectStore {
            var settings = TestServers.settings!
            if self == .disk { settings.storage.folder = "/tmp/chat-test-store-\(getpid())" }
            if self == .s3VirtualHost {
                // libcurl resolves every name under localhost to this machine.
                settings.storage.endpoint.replace("127.0.0.1", with: "localhost")
                settings.storage.pathStyle = false
                settings.storage.region = "eu-west-3"
            }
            return settings.openObjectStore()
        }
    }

    private let key = "test/\(UUID128.v7(at: systemClock()))"

    /// An unnamed file with `bytes`.
    private func file(_ bytes: [UInt8]) -> Int32 {
        var path = Array("/tmp/chat-test-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        unlink(path)
        _ = write(descriptor, bytes, bytes.count)
        return descriptor
    }

    private func contents(_ store: any ObjectStore, atMost most: Int64? = nil) throws -> [UInt8] {
        let copy = try TemporaryFile(in: "/tmp")
        let size = try store.fetch(key, into: copy.descriptor, atMost: most)
        try copy.continueBehind(size)
        return copy.part().head(Int(size))
    }

    @Test(arguments: Kind.allCases) func partsInAnyOrderBecomeOneObject(_ kind: Kind) throws {
        let store = kind.open()
        let first = [UInt8](repeating: 1, count: 5 << 20)
        let second: [UInt8] = [2, 3, 4]
        let descriptor = file(first + second)
        defer { close(descriptor) }
        #expect(try store.size(of: key) == nil)
        let upload = try store.beginUpload(of: key, contentType: "image/png")
        #expect(try store.pendingUploads().contains { $0.upload == upload && $0.key == key && $0.begunAt > "2026" })
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
        // The second time it is missing, or the store remembers the first call.
        do throws(StoreError) {
            try store.completeUpload(of: key, upload: upload, parts: parts)
        } catch {
            #expect(error.isMissing)
        }
        #expect(try store.size(of: key) == Int64(first.count + second.count))
        #expect(try contents(store) == first + second)
        #expect(try contents(store, atMost: 9) == [UInt8](repeating: 1, count: 9))
        #expect(try store.head(of: key, bytes: 3) == [1, 1, 1])
        #expect(try !store.pendingUploads().contains { $0.upload == upload })
        try store.delete(key)
        try store.delete(key)
        #expect(try store.size(of: key) == nil)
        let error = #expect(throws: StoreError.self) { try contents(store) }
        #expect(error?.isMissing == true)
    }

    @Test(arguments: Kind.allCases) func anotherPartThanTheOneThatWasTold(_ kind: Kind) throws {
        let store = kind.open()
        let descriptor = file([1, 2, 3])
        defer { close(descriptor) }
        let upload = try store.beginUpload(of: key, contentType: "a/b")
        let part = FilePart(descriptor: descriptor, offset: 0, length: 3)
        _ = try store.storePart(1, of: key, upload: upload, from: part)
        let error = #expect(throws: StoreError.self) {
            try store.completeUpload(
                of: key, upload: upload, parts: [StoredPart(number: 1, etag: "another", size: 3)])
        }
        #expect(error?.isTransient == false && error?.isMissing == false)
        try store.abortUpload(of: key, upload: upload)
    }

    @Test(arguments: [Kind.s3, .s3VirtualHost]) func aStoreChecksWhatWasSaidOfAPart(_ kind: Kind) throws {
        let store = kind.open()
        let descriptor = file(Array("abc".utf8))
        defer { close(descriptor) }
        let upload = try store.beginUpload(of: key, contentType: "a/b")
        var part = FilePart(descriptor: descriptor, offset: 0, length: 3)
        part.toldMD5 = "kAFQmDzST7DWlj99KOF/cg=="
        let etag = try store.storePart(1, of: key, upload: upload, from: part)
        #expect(etag == part.md5())
        part.offset = 1
        part.length = 2
        let error = #expect(throws: StoreError.self) {
            try store.storePart(1, of: key, upload: upload, from: part)
        }
        #expect(error?.isTransient == false)
        #expect(try store.parts(of: key, upload: upload).map(\.etag) == [etag])
        try store.abortUpload(of: key, upload: upload)
    }

    @Test(arguments: Kind.allCases) func anAbortedUploadIsGoneAndAbortingAgainIsFine(_ kind: Kind) throws {
        let store = kind.open()
        let descriptor = file([1])
        defer { close(descriptor) }
        let upload = try store.beginUpload(of: key, contentType: "text/plain")
        try store.abortUpload(of: key, upload: upload)
        try store.abortUpload(of: key, upload: upload)
        for attempt in [
            { _ = try store.parts(of: key, upload: upload) },
            {
                let part = FilePart(descriptor: descriptor, offset: 0, length: 1)
                _ = try store.storePart(1, of: key, upload: upload, from: part)
            },
        ] {
            let error = #expect(throws: StoreError.self) { try attempt() }
            #expect(error?.isTransient == false && error?.isMissing == true)
        }
    }

    @Test(arguments: Kind.allCases) func aWholeObjectIsReplaced(_ kind: Kind) throws {
        let store = kind.open()
        let descriptor = file([1, 2, 3, 4])
        defer { close(descriptor) }
        try store.put(key, contentType: "a/b", from: FilePart(descriptor: descriptor, offset: 0, length: 4))
        try store.put(key, contentType: "a/b", from: FilePart(descriptor: descriptor, offset: 2, length: 2))
        #expect(try contents(store) == [3, 4])
        try store.delete(key)
    }

    @Test(arguments: [Kind.s3, .s3VirtualHost]) func linksAreGoodForWhatWasSigned(_ kind: Kind) throws {
        let store = kind.open()
        let descriptor = file([7])
        defer { close(descriptor) }
        try store.put(key, contentType: "a/b", from: FilePart(descriptor: descriptor, offset: 0, length: 1))
        let link = store.downloadLink(
            for: key, name: "ä b'\".png", contentType: "image/png", asAttachment: true, seconds: 60)
        #expect(status(of: link) == "200")
        #expect(status(of: link.replacing("Expires=60", with: "Expires=61")) == "403")
        try store.delete(key)
    }

    private func status(of link: String) -> String? {
        guard let pipe = popen("curl -so /dev/null -w '%{http_code}' '\(link)'", "r") else { return nil }
        defer { pclose(pipe) }
        var buffer = [CChar](repeating: 0, count: 8)
        return fgets(&buffer, 8, pipe).map { String(cString: $0) }
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

@Suite struct FileLinksTests {
    private let links = FileLinks(
        base: "https://chat.example/api/v1", secret: String(repeating: "s", count: 32), clock: { 1_000_000 })

    private func target(_ link: String, at now: Int64 = 1_000_000, secret: String = "s") -> FileLinks.Target? {
        let links = FileLinks(base: "", secret: String(repeating: secret, count: 32), clock: { now })
        let parts = link.split(separator: "?")
        let pairs = parts[1].split(separator: "&").map { $0.split(separator: "=") }
        return links.target(of: String(parts[0].split(separator: "/stored/")[1])) { name in
            pairs.first { $0[0] == name }.map { String($0[1]).replacing("%20", with: " ").replacing("%2F", with: "/") }
        }
    }

    @Test func aLinkIsGoodForWhatItWasMadeFor() throws {
        let link = links.link(to: "files/1", name: "a b", contentType: "a/b", asAttachment: true, seconds: 60)
        #expect(link.hasPrefix("https://chat.example/api/v1/files/stored/files/1?"))
        let target = try #require(self.target(link))
        #expect(target == FileLinks.Target(key: "files/1", name: "a b", contentType: "a/b", asAttachment: true))
        #expect(target.disposition == "attachment; filename=\"a b\"; filename*=UTF-8''a%20b")
        for (old, new) in [
            ("files/1", "files/2"), ("a%20b", "b"), ("a%2Fb", "text%2Fhtml"), ("attachment=1", "attachment=0"),
            ("expires=1060", "expires=9999"), ("signature=", "signature=0"),
        ] { #expect(self.target(link.replacing(old, with: new)) == nil) }
        #expect(self.target(link, at: 1_060_000) == nil)
        #expect(self.target(link, secret: "t") == nil)
    }
}
