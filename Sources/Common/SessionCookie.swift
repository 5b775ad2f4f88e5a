/// The cookie of `POST /session`: a token for browsers without JavaScript. No script can read it, and no other site's page
/// can send it.
public enum SessionCookie {
    public static let name = "chat_session"

    /// The token in a request's `Cookie` header; nil: the header has none.
    public static func token(in header: String?) -> String? {
        for pair in pieces(of: header ?? "", at: UInt8(ascii: ";")) {
            let sides = pieces(of: pair, at: UInt8(ascii: "="), maxSplits: 1)
            guard sides.count == 2, areSameBytes(trimmed(sides[0]), name) else { continue }
            return trimmed(sides[1])
        }
        return nil
    }
}
