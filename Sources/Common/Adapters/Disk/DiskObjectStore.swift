public import ChatCore
import Glibc

/// An object store in a folder, for installations without S3: `objects/KEY`, and `uploads/ID` with one file for each
/// part and `key`, the name of the final object.
///
/// Each file is written under a temporary name, synced and renamed: after a crash a file is complete or absent.
public final class DiskObjectStore: ObjectStore {
    private let root: String
    private let links: FileLinks

    public init(root: String, links: FileLinks) {
        self.root = root
        self.links = links
    }

    private func object(_ key: String) -> String { "\(root)/objects/\(key)" }
    private func folder(_ upload: String) -> String { "\(root)/uploads/\(upload)" }

    public func check() throws(StoreError) {
        guard access(root, R_OK | W_OK | X_OK) == 0 else {
            throw StoreError("disk: \(root) cannot be written: \(String(cString: strerror(errno)))", isTransient: true)
        }
    }

    // MARK: Uploads in parts

    public func beginUpload(of key: String, contentType: String) throws(StoreError) -> String {
        let upload = UUID128.v7(at: systemClock()).description
        try DiskFile.makeFolder(folder(upload))
        try DiskFile.write(Array(key.utf8), to: "\(folder(upload))/key")
        return upload
    }

    public func storePart(
        _ number: Int, of key: String, upload: String, from part: FilePart
    ) throws(StoreError) -> String {
        let path = "\(folder(upload))/\(number)"
        try DiskFile.write(from: [part], to: path)
        guard let facts = DiskFile.facts(path) else { throw missing }
        return facts.etag
    }

    public func completeUpload(of key: String, upload: String, parts: [StoredPart]) throws(StoreError) {
        guard DiskFile.facts("\(folder(upload))/key") != nil else { throw missing }
        var pieces: [FilePart] = []
        for part in parts.sorted(by: { $0.number < $1.number }) {
            let (piece, etag) = try DiskFile.open("\(folder(upload))/\(part.number)")
            guard etag == part.etag else { throw StoreError("disk: a part was replaced", isTransient: false) }
            pieces.append(piece)
        }
        try DiskFile.write(from: pieces, to: object(key))
        DiskFile.removeFolder(folder(upload))
    }

    public func abortUpload(of key: String, upload: String) throws(StoreError) { DiskFile.removeFolder(folder(upload)) }

    public func parts(of key: String, upload: String) throws(StoreError) -> [StoredPart] {
        guard DiskFile.facts("\(folder(upload))/key") != nil else { throw missing }
        return DiskFile.names(folder(upload)).compactMap { name in
            guard let number = Int(name), let facts = DiskFile.facts("\(folder(upload))/\(name)") else { return nil }
            return StoredPart(number: number, etag: facts.etag, size: facts.size)
        }.sorted { $0.number < $1.number }
    }

    public func pendingUploads() throws(StoreError) -> [PendingUpload] {
        DiskFile.names("\(root)/uploads").compactMap { upload in
            let path = "\(folder(upload))/key"
            guard let facts = DiskFile.facts(path), let key = readFile(path) else { return nil }
            var stamp: [UInt8] = []
            appendTimestamp(facts.changedAt, to: &stamp)
            return PendingUpload(key: key, upload: upload, begunAt: String(decoding: stamp, as: UTF8.self))
        }
    }

    // MARK: Whole objects

    public func size(of key: String) throws(StoreError) -> Int64? { DiskFile.facts(object(key))?.size }

    public func put(_ key: String, contentType: String, from part: FilePart) throws(StoreError) {
        try DiskFile.write(from: [part], to: object(key))
    }

    public func head(of key: String, bytes: Int) throws(StoreError) -> [UInt8] {
        try DiskFile.open(object(key)).part.head(bytes)
    }

    public func fetch(_ key: String, into descriptor: Int32, atMost most: Int64?) throws(StoreError) -> Int64 {
        var part = try DiskFile.open(object(key)).part
        part.length = min(part.length, most ?? .max)
        var written: Int64 = 0
        try DiskFile.copy(part) { bytes in
            guard pwrite(descriptor, bytes.baseAddress, bytes.count, off_t(written)) == bytes.count else {
                return false
            }
            written += Int64(bytes.count)
            return true
        }
        return written
    }

    public func delete(_ key: String) throws(StoreError) {
        guard unlink(object(key)) == 0 || errno == ENOENT else { throw DiskFile.failure("delete an object") }
    }

    // MARK: Links

    public func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String {
        links.link(to: key, name: name, contentType: contentType, asAttachment: asAttachment, seconds: seconds)
    }

    public func partLink(
        _ number: Int, of key: String, upload: String, size: Int64, md5: String, seconds: Int
    ) -> PartLink? { nil }

    private var missing: StoreError { StoreError("disk: there is no such upload", isTransient: false, isMissing: true) }
}
