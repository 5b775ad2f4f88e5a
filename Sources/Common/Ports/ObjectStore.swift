/// Where files are kept: any S3-compatible store, or a folder.
///
/// Guarantee: a call that returned is durable in the store. Every call has a time limit and is tried again where that is
/// harmless; a thrown error that `isTransient` may be tried again by the caller, one that `isMissing` says that the upload
/// was aborted or completed, or that there is no such object.
public protocol ObjectStore: AnyObject {
    /// Begins an upload in parts.
    /// - Returns: the store's id of the upload.
    func beginUpload(of key: String, contentType: String) throws(StoreError) -> String
    /// Stores one part; storing the same number again replaces it.
    /// - Parameter number: from 1.
    /// - Returns: the part's ETag, which completing needs.
    func storePart(_ number: Int, of key: String, upload: String, from part: FilePart) throws(StoreError) -> String
    /// Joins the parts. Again after success is an error that `isMissing`: ask ``size(of:)`` then.
    func completeUpload(of key: String, upload: String, parts: [StoredPart]) throws(StoreError)
    /// Also when there is none any more.
    func abortUpload(of key: String, upload: String) throws(StoreError)
    func parts(of key: String, upload: String) throws(StoreError) -> [StoredPart]
    /// Uploads that are neither complete nor aborted, some of them when there are very many.
    func pendingUploads() throws(StoreError) -> [PendingUpload]
    /// Bytes of a stored object; nil when it is not there.
    func size(of key: String) throws(StoreError) -> Int64?
    /// A whole object at once; what was there is replaced.
    func put(_ key: String, contentType: String, from part: FilePart) throws(StoreError)
    /// Its first bytes; fewer when it is shorter.
    func head(of key: String, bytes: Int) throws(StoreError) -> [UInt8]
    /// Writes an object, or as much of it as `most` bytes from its beginning, into an open file from its beginning on.
    /// - Returns: bytes written.
    func fetch(_ key: String, into descriptor: Int32, atMost most: Int64?) throws(StoreError) -> Int64
    /// Also when it is not there.
    func delete(_ key: String) throws(StoreError)
    /// A link that is good for `seconds` for whoever has it.
    func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String
    /// A link that stores exactly one part of `size` bytes with that MD5 (base64); nil: this store takes none.
    func partLink(
        _ number: Int, of key: String, upload: String, size: Int64, md5: String, seconds: Int
    ) -> PartLink?
}

/// A range of an open file.
public struct FilePart: Sendable {
    public var descriptor: Int32
    public var offset: Int64
    public var length: Int64
    /// In base64, where its sender told it: the store checks it once more.
    public var toldMD5: String?
    /// What closes the file when nobody needs it any more.
    private let owner: (any Sendable & AnyObject)?

    public init(descriptor: Int32, offset: Int64, length: Int64, owner: (any Sendable & AnyObject)? = nil) {
        self.descriptor = descriptor
        self.offset = offset
        self.length = length
        self.owner = owner
    }
}

public struct StoredPart: Sendable, Equatable {
    public var number: Int
    public var etag: String
    public var size: Int64

    public init(number: Int, etag: String, size: Int64) {
        self.number = number
        self.etag = etag
        self.size = size
    }
}

public struct PendingUpload: Sendable, Equatable {
    public var key: String
    public var upload: String
    /// RFC 3339, UTC.
    public var begunAt: String

    public init(key: String, upload: String, begunAt: String) {
        self.key = key
        self.upload = upload
        self.begunAt = begunAt
    }
}

/// A `PUT` that a client sends straight to the store, with these headers.
public struct PartLink: Sendable {
    public var url: String
    public var headers: [(name: String, value: String)]

    public init(url: String, headers: [(name: String, value: String)]) {
        self.url = url
        self.headers = headers
    }
}
