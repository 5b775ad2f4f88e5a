/// Finds uploads that ended without notice.
public protocol UploadSweepRecords: AnyObject {
    /// Messages that were sent before `time` (Unix milliseconds) and still wait for their file.
    func stale(before time: Int64, limit: Int) throws(StoreError) -> [Message]
    /// Files whose message was deleted and that no other message shows.
    func released(limit: Int) throws(StoreError) -> [UploadRecord]
    /// The ids of the object store that belong to a record.
    func known(_ uploads: [String]) throws(StoreError) -> Set<String>
    /// Removes the records of uploads that failed before `time`.
    func removeEnded(before time: Int64) throws(StoreError)
    /// Call this after the store has deleted the file.
    func removeReleased(_ message: UUID128) throws(StoreError)
}

/// Guarantees that at most one process leads at a time, also after crashes.
public protocol Leadership: AnyObject {
    /// - Returns: false when another process leads; `body` was not called then.
    func lead(_ task: String, _ body: () throws -> Void) throws -> Bool
}
