/// The writer's side of the store.
public protocol RoomBatchStore: AnyObject {
    /// Loads the data that the commands need and locks their rooms until ``store(_:)`` or ``abandon()``. A second
    /// writer (one that the broker believes dead) waits, and then sees what the first one stored. Or the data comes
    /// from a cache of earlier batches, without locks: then ``store(_:)`` detects a second writer.
    func load(for commands: [Command], now: Int64) throws(StoreError) -> RoomBatch
    /// Stores all changes in one transaction; they are durable when it returns. On a conflict
    /// (``StoreError/isConflict``) nothing is stored, and the caller should load again.
    func store(_ batch: RoomBatch) throws(StoreError)
    func abandon()
    /// The position in the database's log after everything that is stored; nil when nobody needs it.
    func position() throws(StoreError) -> Int64?
}

extension RoomBatchStore {
    public func position() throws(StoreError) -> Int64? { nil }
}

/// The reason why the store failed.
public struct StoreError: Error, Sendable, CustomStringConvertible {
    public let description: String
    /// A retry may help: the store was unavailable, or another writer came first.
    public let isTransient: Bool
    /// The requested object does not exist (any more).
    public let isMissing: Bool
    /// Another writer came first; loading again at once shows its changes.
    public let isConflict: Bool
    /// The server could not be reached, or fell silent; another host may reach it.
    public let isAway: Bool
    /// For how long nothing had been heard from it.
    public let silence: Duration
    /// Set by searches only.
    public let trouble: SearchTrouble?

    public init(
        _ description: String, isTransient: Bool, isMissing: Bool = false, isConflict: Bool = false,
        isAway: Bool = false, silence: Duration = .zero, trouble: SearchTrouble? = nil
    ) {
        self.description = description
        self.isTransient = isTransient
        self.isMissing = isMissing
        self.isConflict = isConflict
        self.isAway = isAway
        self.silence = silence
        self.trouble = trouble
    }
}
