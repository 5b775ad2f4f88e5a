/// The writer's side of the store.
public protocol RoomBatchStore: AnyObject {
    /// Loads what the commands need, and locks their rooms until ``store(_:)`` or ``abandon()``: a second writer (one
    /// that the broker believes dead) waits, and then meets what the first has done. Or it is what the store remembers
    /// of its last batches, with nothing locked: then ``store(_:)`` finds out whether a second writer was there.
    func load(for commands: [Command], now: Int64) throws(StoreError) -> RoomBatch
    /// Stores everything that changed in one transaction, durably when it returns. On a conflict
    /// (``StoreError/isConflict``) nothing is stored, and loading again helps.
    func store(_ batch: RoomBatch) throws(StoreError)
    func abandon()
}

/// Why the store did not do it.
public struct StoreError: Error, Sendable, CustomStringConvertible {
    public let description: String
    /// Trying again may help: the store was away, or another writer came first.
    public let isTransient: Bool
    /// What was asked about is not there (any more).
    public let isMissing: Bool
    /// Another writer came first; loading again, at once, shows what it did.
    public let isConflict: Bool
    /// Of a search alone.
    public let trouble: SearchTrouble?

    public init(
        _ description: String, isTransient: Bool, isMissing: Bool = false, isConflict: Bool = false,
        trouble: SearchTrouble? = nil
    ) {
        self.description = description
        self.isTransient = isTransient
        self.isMissing = isMissing
        self.isConflict = isConflict
        self.trouble = trouble
    }
}
