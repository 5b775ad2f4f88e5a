// Text from strangers is compared byte by byte. Swift's `==`, `hasPrefix`, `split`, `contains` and `lowercased` work on
// characters: a combining mark hides what stands before it ("/\u{301}" is no "/"), two spellings of one letter are equal,
// and three signs outside of ASCII equal one within it (U+037E ";", U+1FEF "`", U+212A "K").

/// Whether two texts are the same, spelling and all.
public func areSameBytes(_ one: some StringProtocol, _ other: some StringProtocol) -> Bool {
    one.utf8.elementsEqual(other.utf8)
}

/// A to Z become a to z; every other byte stays, so that what is no ASCII cannot become it.
public func asciiLowercased(_ text: some StringProtocol) -> String {
    String(decoding: text.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}
