/// Which uploads there are, durably.
public protocol UploadRecords: AnyObject {
    func find(_ message: UUID128) throws(StoreError) -> UploadRecord?
    /// Returns the record that stands: another's when that came first, or nil when the message is gone.
    func begin(_ record: UploadRecord) throws(StoreError) -> UploadRecord?
    func note(mediaType: String, of message: UUID128) throws(StoreError)
    func complete(_ message: UUID128) throws(StoreError)
    /// Only that upload: a newer one of the same message stays.
    func remove(_ message: UUID128, upload: String) throws(StoreError)
}

public struct UploadRecord: Sendable, Equatable {
    public var message: UUID128
    /// The object store's id.
    public var upload: String
    public var total: Int
    public var mediaType: String?
    public var isCompleted: Bool

    public init(message: UUID128, upload: String, total: Int, mediaType: String? = nil, isCompleted: Bool = false) {
        self.message = message
        self.upload = upload
        self.total = total
        self.mediaType = mediaType
        self.isCompleted = isCompleted
    }
}

/// How far each upload is, shared by all workers. It may be forgotten at any moment: the record and the object store
/// know it all again.
public protocol UploadProgress: AnyObject {
    func find(_ message: UUID128) throws(BusError) -> UploadState?
    /// In place of what was there.
    func put(_ state: UploadState, of message: UUID128) throws(BusError)
    /// Guarantee: of two that add the last two parts at the same moment, at least one is told of both.
    /// - Returns: nil when this upload is not known (any more).
    func add(_ part: StoredPart, to message: UUID128, upload: String) throws(BusError) -> UploadState?
    func remove(_ message: UUID128) throws(BusError)
    /// For the token's owner alone until it unlocks or `milliseconds` have passed. It saves work; what is done under it
    /// has to be right without it too.
    func lock(_ message: UUID128, token: String, milliseconds: Int) throws(BusError) -> Bool
    func unlock(_ message: UUID128, token: String) throws(BusError)
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
