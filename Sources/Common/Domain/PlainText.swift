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

/// Splits at a byte: an address consists of bytes, and characters do not matter in it.
public func pieces(of text: some StringProtocol, at separator: UInt8, maxSplits: Int = .max, omittingEmpty: Bool = true)
    -> [Substring]
{
    Substring(text).utf8.split(separator: separator, maxSplits: maxSplits, omittingEmptySubsequences: omittingEmpty)
        .map(Substring.init)
}

/// Removes the spaces and tabs around it, byte by byte: a combining mark after a space would form one character with
/// it.
public func trimmed(_ text: some StringProtocol) -> String {
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    var rest = Substring(text).utf8
    while let first = rest.first, isSpace(first) { rest.removeFirst() }
    while let last = rest.last, isSpace(last) { rest.removeLast() }
    return String(Substring(rest))
}
