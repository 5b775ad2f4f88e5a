import ChatCore

/// Counts texts. They come from a server, so their number and length are bounded, and none can move a terminal's
/// cursor.
struct Tally {
    static let maxTexts = 50
    static let longest = 120
    static let others = "other texts"
    private(set) var counts: [String: Int] = [:]
    private(set) var total = 0

    mutating func count(_ text: some StringProtocol) {
        total += 1
        let text = printable(text, atMost: Self.longest)
        counts[counts[text] != nil || counts.count < Self.maxTexts ? text : Self.others, default: 0] += 1
    }
}

/// The code of an error `code: sentence`.
func errorCode(_ text: String) -> Substring { Substring(text.utf8.prefix { $0 != UInt8(ascii: ":") }) }
