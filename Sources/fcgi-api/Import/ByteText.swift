/// A text as a key: two spellings of one letter are two keys, as they are two ids in the other service.
struct ByteText: Hashable, Comparable {
    private let bytes: [UInt8]

    init(_ text: some StringProtocol) { bytes = Array(text.utf8) }

    static func < (one: ByteText, other: ByteText) -> Bool { one.bytes.lexicographicallyPrecedes(other.bytes) }

    /// In the order of bytes, each once.
    static func sorted(_ texts: [String]) -> [String] {
        var known: Set<ByteText> = []
        return texts.filter { known.insert(ByteText($0)).inserted }.sorted { ByteText($0) < ByteText($1) }
    }
}
