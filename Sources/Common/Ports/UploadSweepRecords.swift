/// Which uploads have come to an end that nobody told of.
public protocol UploadSweepRecords: AnyObject {
    /// Messages that were sent before `time` (Unix milliseconds) and still wait for their file.
    func stale(before time: Int64, limit: Int) throws(StoreError) -> [Message]
    /// Files whose message is gone and that no other message shows.
    func released(limit: Int) throws(StoreError) -> [UploadRecord]
    /// Of the object store's ids, those that there is a record of.
    func known(_ uploads: [String]) throws(StoreError) -> Set<String>
    /// What was left of uploads that came to nothing before `time`.
    func removeEnded(before time: Int64) throws(StoreError)
    /// After the store has deleted it.
    func removeReleased(_ message: UUID128) throws(StoreError)
}

/// At most one process at a time leads, whatever dies.
public protocol Leadership: AnyObject {
    /// - Returns: false when another leads; then `body` was not called.
    func lead(_ task: String, _ body: () throws -> Void) throws -> Bool
}
