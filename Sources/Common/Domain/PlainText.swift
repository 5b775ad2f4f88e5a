import Glibc

// Untrusted text is compared as bytes. Swift's `==`, `hasPrefix`, `split`, `contains` and `lowercased` compare
// characters: a combining mark hides the character before it ("/\u{301}" is no "/"), two spellings of one letter are
// equal, and three non-ASCII characters equal an ASCII one (U+037E ";", U+1FEF "`", U+212A "K").

/// Whether two texts are the same bytes.
public func areSameBytes(_ one: some StringProtocol, _ other: some StringProtocol) -> Bool {
    one.utf8.elementsEqual(other.utf8)
}

/// The same for two whole strings, by one comparison of memory: look-ups of request fields need the speed.
public func areSameBytes(_ one: String, _ other: String) -> Bool {
    let count = one.utf8.count
    guard count == other.utf8.count else { return false }
    guard count > 0 else { return true }
    let answer = one.utf8.withContiguousStorageIfAvailable { left in
        other.utf8.withContiguousStorageIfAvailable { memcmp(left.baseAddress!, $0.baseAddress!, count) == 0 }
    }
    return (answer ?? nil) ?? one.utf8.elementsEqual(other.utf8)
}

/// Turns A to Z into a to z and keeps every other byte, so that non-ASCII text never becomes ASCII.
public func asciiLowercased(_ text: some StringProtocol) -> String {
    String(decoding: text.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}

/// Splits at a byte, regardless of characters: an address consists of bytes.
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

/// The bytes that a percent-encoded text stands for; nil: a % is not followed by two hexadecimal digits.
///
/// - Parameter plus: a + stands for a blank, as in a form.
public func withoutPercentEscapes(_ text: some Sequence<UInt8>, plus: Bool = false) -> [UInt8]? {
    func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x41 + 10
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }
    var bytes: [UInt8] = []
    var rest = text.makeIterator()
    while let byte = rest.next() {
        if byte == UInt8(ascii: "%") {
            guard let high = rest.next().flatMap(value), let low = rest.next().flatMap(value) else { return nil }
            bytes.append(high << 4 | low)
        } else {
            bytes.append(plus && byte == UInt8(ascii: "+") ? 0x20 : byte)
        }
    }
    return bytes
}

/// Whether the byte may occur in an HTTP token, such as a header's name (RFC 9110, 5.6.2).
public func isHTTPTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
    default: false
    }
}

/// Whether the byte may occur in a URL, percent-encoded or not (RFC 3986, 2); `[`, `]` and `%` have their own rules.
public func isURLByte(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte < 0x7f && !"\"<>\\^`{|}".utf8.contains(byte)
}

/// One to five digits of a port from 1 to 65535.
func isPort(_ digits: some Collection<UInt8>) -> Bool {
    (1...5).contains(digits.count) && digits.allSatisfy { (0x30...0x39).contains($0) }
        && (1...65_535).contains(digits.reduce(0) { $0 * 10 + Int($1 - 0x30) })
}

/// A case with a name on the wire, which is compared as bytes.
public protocol NamedCase: CaseIterable {
    var name: String { get }
}

extension NamedCase {
    public init?(name: String) {
        guard let match = Self.allCases.first(where: { areSameBytes($0.name, name) }) else { return nil }
        self = match
    }
}

/// C0, DEL and C1: people do not write them, and they break terminals and logs.
func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
}

/// Controls of both sets, the two separators that some viewers treat as the end of a line, and marks that change the
/// direction of writing. With these a text from outside could move a terminal's cursor, or look like another text.
public func isUnseen(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case ..<0x20, 0x7f...0x9f, 0x061c, 0x200e...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff: true
    default: false
    }
}

/// A text from outside for a terminal or a page: at most `count` scalars, each unseen one replaced by a question mark.
public func printable(_ text: some StringProtocol, atMost count: Int = 160) -> String {
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(count) { out.append(isUnseen(scalar) ? "?" : scalar) }
    return String(out)
}
