// Untrusted text is compared as bytes. Swift's `==`, `hasPrefix`, `split`, `contains` and `lowercased` compare
// characters: a combining mark hides the character before it ("/\u{301}" is no "/"), two spellings of one letter are
// equal, and three non-ASCII characters equal an ASCII one (U+037E ";", U+1FEF "`", U+212A "K").

/// Whether two texts are the same bytes.
public func areSameBytes(_ one: some StringProtocol, _ other: some StringProtocol) -> Bool {
    one.utf8.elementsEqual(other.utf8)
}

/// Turns A to Z into a to z and keeps every other byte, so that non-ASCII text never becomes ASCII.
public func asciiLowercased(_ text: some StringProtocol) -> String {
    String(decoding: text.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}
