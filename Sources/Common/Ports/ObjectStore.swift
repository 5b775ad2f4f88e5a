/// Where files are kept: any S3-compatible store.
///
/// Guarantee: a call that returned is durable in the store. Every call has a time limit and is tried again where that is
/// harmless; a thrown error that `isTransient` may be tried again by the caller, one that `isMissing` says that the upload
/// was aborted or completed.
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
    /// Bytes of a stored object; nil when it is not there.
    func size(of key: String) throws(StoreError) -> Int64?
    func delete(_ key: String) throws(StoreError)
    /// A link that is good for `seconds` for whoever has it.
    func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String
}

/// A range of an open file.
public struct FilePart: Sendable {
    public var descriptor: Int32
    public var offset: Int64
    public var length: Int64

    public init(descriptor: Int32, offset: Int64, length: Int64) {
        self.descriptor = descriptor
        self.offset = offset
        self.length = length
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
