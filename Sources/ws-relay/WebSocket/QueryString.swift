import ChatCore

/// `a=b&c=d`, percent-decoded. Invalid escapes and invalid UTF-8 are refused.
enum QueryString {
    /// The value of the first `name`; nil when it is absent.
    static func value(of name: String, in query: String) throws(RequestHead.Malformed) -> String? {
        for (found, value) in parts(of: query) {
            if areSameBytes(try decode(found), name) { return try decode(value) }
        }
        return nil
    }

    /// All pairs, in their order.
    static func pairs(_ query: String) throws(RequestHead.Malformed) -> [(name: String, value: String)] {
        var found: [(String, String)] = []
        for (name, value) in parts(of: query) { found.append((try decode(name), try decode(value))) }
        return found
    }

    private static func parts(of query: String) -> [(name: Substring, value: Substring)] {
        pieces(of: query, at: UInt8(ascii: "&")).map { pair in
            let sides = pieces(of: pair, at: UInt8(ascii: "="), maxSplits: 1, omittingEmpty: false)
            return (sides[0], sides.count > 1 ? sides[1] : "")
        }
    }

    static func decode(_ text: Substring) throws(RequestHead.Malformed) -> String {
        guard let bytes = withoutPercentEscapes(text.utf8, plus: true) else {
            throw RequestHead.Malformed("bad percent escape in the query")
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else {
            throw RequestHead.Malformed("the query is not UTF-8")
        }
        return decoded
    }
}
