/// A JSON object that the host application or users keep with a message, a room or a member. No value of an object is
/// null: in a patch null removes the key. An empty object counts as no Metadata.
public struct Metadata: Sendable, Equatable {
    /// JSON without spaces, at most ``limit`` bytes.
    public let text: String

    /// Bytes.
    public static let limit = 4096
    /// Levels of nested objects and lists. Our readers allow `WireLimit.depth` levels, including those around the
    /// Metadata.
    public static let depth = 8
    /// Keys of one object: readers refuse more.
    public static let keys = 64

    /// - Parameter stored: text that was checked when it was stored.
    public init(stored: String) { text = stored }

    /// Compares bytes: two spellings of one letter differ.
    public static func == (a: Metadata, b: Metadata) -> Bool { areSameBytes(a.text, b.text) }
}

/// A merge patch of ``Metadata``: a JSON object, in which null removes a key.
public struct MetadataPatch: Sendable, Equatable {
    /// JSON without spaces.
    public let text: String

    /// Bytes: enough to replace all keys of a full ``Metadata``.
    public static let limit = 2 * Metadata.limit

    /// - Parameter checked: text of a value that ``Metadata`` may hold.
    init(checked: String) { text = checked }

    public static func == (a: MetadataPatch, b: MetadataPatch) -> Bool { areSameBytes(a.text, b.text) }
}
