/// The durable records of uploads.
public protocol UploadRecords: AnyObject {
    func find(_ message: UUID128) throws(StoreError) -> UploadRecord?
    /// The address of a file that is kept elsewhere: of an imported message.
    func link(of message: UUID128) throws(StoreError) -> String?
    /// Returns the valid record: an earlier one if there is one, or nil when the message takes no file (any more).
    /// - Parameter fence: the fence of the lock that the caller holds.
    func begin(_ record: UploadRecord, fence: Int64) throws(StoreError) -> UploadRecord?
    func note(mediaType: String, of message: UUID128) throws(StoreError)
    func note(length: Int64, metadata: String?, of message: UUID128) throws(StoreError)
    /// Counts the upload's `size` against its owner's quota (0: no limit); false when it would be exceeded. Guarantee:
    /// two concurrent calls cannot both take the last bytes.
    func reserve(_ size: Int64, for message: UUID128, quota: Int64) throws(StoreError) -> Bool
    func complete(_ message: UUID128) throws(StoreError)
    /// Removes only that upload, and only when no later lock holder began it: a newer upload of the same message stays.
    func remove(_ message: UUID128, upload: String, fence: Int64) throws(StoreError)
}

public struct UploadRecord: Sendable, Equatable {
    public var message: UUID128
    /// The object store's id.
    public var upload: String
    public var total: Int
    public var mediaType: String?
    public var isCompleted: Bool
    /// Bytes, when announced in advance.
    public var length: Int64?
    /// Unix milliseconds at which it was complete; nil once it was inspected.
    public var unseenSince: Int64?
    /// `Upload-Metadata` of a tus upload.
    public var metadata: String?

    public init(
        message: UUID128, upload: String, total: Int, mediaType: String? = nil, isCompleted: Bool = false,
        length: Int64? = nil, unseenSince: Int64? = nil, metadata: String? = nil
    ) {
        self.message = message
        self.upload = upload
        self.total = total
        self.mediaType = mediaType
        self.isCompleted = isCompleted
        self.length = length
        self.unseenSince = unseenSince
        self.metadata = metadata
    }
}

/// The progress of uploads, shared by all workers. It may be lost at any moment: the record and the object store
/// restore it. It never returns state from before a restart of its server: the last second may be lost then, and a
/// missing part would be waited for forever.
public protocol UploadProgress: AnyObject {
    func find(_ message: UUID128) throws(BusError) -> UploadState?
    /// Adds the object store's listing to the known state of an upload, or replaces another upload's state.
    /// - Parameter fence: one that is older than the state's is refused: returns nil, and the state stays.
    func put(_ state: UploadState, of message: UUID128, fence: Int64) throws(BusError) -> UploadState?
    /// Guarantee: when two calls add the last two parts at once, at least one of them sees both.
    /// - Returns: nil when this upload is not known (any more).
    func add(_ part: StoredPart, to message: UUID128, upload: String) throws(BusError) -> UploadState?
    /// - Parameter upload: a newer one of the same message stays.
    func remove(_ message: UUID128, upload: String) throws(BusError)
    /// Locks for the token's owner until it unlocks or `milliseconds` have passed. The lock only saves work: all
    /// actions under it must be correct without it too.
    /// - Returns: a fence, larger than that of every earlier holder; nil: another owner holds the lock.
    func lock(_ lock: UploadLock, of message: UUID128, token: String, milliseconds: Int) throws(BusError) -> Int64?
    func unlock(_ lock: UploadLock, of message: UUID128, token: String) throws(BusError)
}

public enum UploadLock: String, Sendable {
    /// For beginning an upload, restoring its state and completing it.
    case state = "lock"
    /// For writing successive pieces (tus).
    case writer
}

public struct UploadState: Sendable, Equatable {
    public var upload: String
    public var total: Int
    public var parts: [Int: StoredPart]
    /// Bytes of the object when its parts are joined already.
    public var joined: Int64?

    public init(upload: String, total: Int, parts: [StoredPart] = [], joined: Int64? = nil) {
        self.upload = upload
        self.total = total
        self.parts = Dictionary(parts.map { ($0.number, $0) }) { _, last in last }
        self.joined = joined
    }

    public var size: Int64 { joined ?? parts.values.reduce(0) { $0 + $1.size } }
    public var isWhole: Bool { joined != nil || parts.count == total }
    public var received: [Int] { joined == nil ? parts.keys.sorted() : Array(1...total) }
}
