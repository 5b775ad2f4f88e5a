/// One piece of a file, as a request contained it.
public struct Chunk: Sendable {
    /// From 1.
    public var index: Int
    public var total: Int
    public var bytes: FilePart
    /// The MD5 in lower-case hexadecimal, which most stores use as a part's ETag; nil: unknown. Computing it reads all
    /// bytes.
    public var md5: @Sendable () -> String?
    /// Nil when the sender does not name it.
    public var mediaType: MediaType?

    public init(
        index: Int, total: Int, bytes: FilePart, md5: (@Sendable () -> String?)? = nil, mediaType: MediaType? = nil
    ) {
        self.index = index
        self.total = total
        self.bytes = bytes
        self.md5 = md5 ?? { bytes.md5() }
        self.mediaType = mediaType
    }

    /// S3's own limits.
    public static let maxTotal = 10_000
    public static let minBytes: Int64 = 5 << 20
}

/// The limits of a file and its chunks.
public struct UploadRules: Sendable {
    /// Bytes of one file.
    public var maxSize: Int64
    /// Bytes of all files of one user; 0: no limit.
    public var quota: Int64

    public init(maxSize: Int64, quota: Int64 = 0) {
        self.maxSize = maxSize
        self.quota = quota
    }

    /// Checks everything that depends only on this chunk.
    public func check(_ chunk: Chunk) throws(Refusal) {
        guard (1...Chunk.maxTotal).contains(chunk.total) else {
            throw .invalid("TotalChunk", "is not a whole number from 1 to \(Chunk.maxTotal)")
        }
        guard (1...chunk.total).contains(chunk.index) else {
            throw .invalid("ChunkIndex", "is not a whole number from 1 to TotalChunk (\(chunk.total))")
        }
        // A file may be empty; one of several chunks may not.
        guard chunk.bytes.length > 0 || chunk.total == 1 else { throw .invalid("File", "is empty") }
        try check(size: chunk.bytes.length)
        guard chunk.index == chunk.total || chunk.bytes.length >= Chunk.minBytes else {
            throw .invalid(
                "File", "is a chunk of \(chunk.bytes.length) bytes; all but the last have at least \(Chunk.minBytes)")
        }
        try check(size: Int64(chunk.total - 1) * Chunk.minBytes + 1)
    }

    public func check(size: Int64) throws(Refusal) {
        guard size <= maxSize else {
            throw Refusal(.tooLarge, "the file is larger than \(maxSize) bytes", field: "File")
        }
    }
}
