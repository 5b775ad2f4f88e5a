/// Storage for files: any S3-compatible store, or a folder.
///
/// Guarantee: after a call returns, its effect is durable. Every call has a time limit and is repeated if that is
/// safe. The caller may retry after an error with `isTransient`. An error with `isMissing` means that the upload was
/// aborted or completed, or that the object does not exist.
public protocol ObjectStore: AnyObject {
    /// Checks whether the store would accept a file now: one request, of two seconds at most.
    func check() throws(StoreError)
    /// Begins an upload in parts.
    /// - Returns: the store's id of the upload.
    func beginUpload(of key: String, contentType: String) throws(StoreError) -> String
    /// Stores one part; storing the same number again replaces it.
    /// - Parameter number: from 1.
    /// - Returns: the part's ETag, which completing needs.
    func storePart(_ number: Int, of key: String, upload: String, from part: FilePart) throws(StoreError) -> String
    /// Joins the parts. A second call after a success throws an error with `isMissing`: then call ``size(of:)``.
    func completeUpload(of key: String, upload: String, parts: [StoredPart]) throws(StoreError)
    /// Succeeds also when there is no such upload.
    func abortUpload(of key: String, upload: String) throws(StoreError)
    func parts(of key: String, upload: String) throws(StoreError) -> [StoredPart]
    /// Uploads that are neither complete nor aborted; not all of them when there are very many.
    func pendingUploads() throws(StoreError) -> [PendingUpload]
    /// The size of a stored object in bytes; nil when it does not exist.
    func size(of key: String) throws(StoreError) -> Int64?
    /// Stores a whole object at once and replaces an existing one.
    func put(_ key: String, contentType: String, from part: FilePart) throws(StoreError)
    /// The object's first bytes; fewer when it is shorter.
    func head(of key: String, bytes: Int) throws(StoreError) -> [UInt8]
    /// Copies an object, or its first `most` bytes, into an open file from the file's beginning.
    /// - Returns: the number of bytes written.
    func fetch(_ key: String, into descriptor: Int32, atMost most: Int64?) throws(StoreError) -> Int64
    /// Succeeds also when there is no such object.
    func delete(_ key: String) throws(StoreError)
    /// A link that is valid for `seconds`, for anyone who has it.
    func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String
    /// A link that stores exactly one part of `size` bytes with that MD5 (base64); nil: this store does not support it.
    func partLink(
        _ number: Int, of key: String, upload: String, size: Int64, md5: String, seconds: Int
    ) -> PartLink?
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

/// A `PUT` request, with these headers, by which a client stores a part directly.
public struct PartLink: Sendable {
    public var url: String
    public var headers: [(name: String, value: String)]

    public init(url: String, headers: [(name: String, value: String)]) {
        self.url = url
        self.headers = headers
    }
}
