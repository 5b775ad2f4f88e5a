import ChatAdapters
import ChatCore

/// The pairs of a query or of a plain form (WHATWG URL, application/x-www-form-urlencoded).
struct Query {
    let pairs: [(name: String, value: String)]

    /// More pairs are an attack on the search through them.
    static let maxPairs = 64

    init(_ text: Substring) throws(Refusal) {
        var pairs: [(String, String)] = []
        for part in pieces(of: text, at: UInt8(ascii: "&")) {
            guard pairs.count < Query.maxPairs else {
                throw Refusal(.malformed, "more than \(Query.maxPairs) fields")
            }
            let sides = pieces(of: part, at: UInt8(ascii: "="), maxSplits: 1, omittingEmpty: false)
            let value = sides.count > 1 ? sides[1] : ""
            pairs.append((try percentDecoded(sides[0], plus: true), try percentDecoded(value, plus: true)))
        }
        self.pairs = pairs
    }

    /// Nil when absent or empty.
    subscript(name: String) -> String? {
        guard let value = pairs.first(where: { $0.name == name })?.value, !value.isEmpty else { return nil }
        return value
    }

    func refuse(except known: [String]) throws(Refusal) {
        for (name, _) in pairs where !known.contains(where: { areSameBytes($0, name) }) {
            let all = known.isEmpty ? "it has none" : "it has \(known.joined(separator: ", "))"
            throw Refusal(.malformed, "there is no such query parameter here: \(all)", field: String(name.prefix(64)))
        }
        if let name = repeated(mayBeEqual: true) { throw .twice("the query has a parameter twice", name) }
    }

    /// A name that occurs twice.
    ///
    /// - Parameter mayBeEqual: allows it with one value: a client may put a whole `Next`, unencoded, behind its query.
    func repeated(mayBeEqual: Bool) -> String? {
        for (index, pair) in pairs.enumerated() {
            for earlier in pairs[..<index] where areSameBytes(earlier.name, pair.name) {
                if !mayBeEqual || !areSameBytes(earlier.value, pair.value) { return pair.name }
            }
        }
        return nil
    }

    /// False when absent.
    func flag(_ name: String) throws(Refusal) -> Bool {
        switch self[name] {
        case nil, "false": return false
        case "true": return true
        default: throw .invalid(name, "is not true or false")
        }
    }

    /// A position in a list, from `Next`: either one parameter of it, or the whole `Next` as this parameter's value.
    /// The latter comes from clients that treat `Next` as an opaque cursor.
    func cursor(_ name: String) throws(Refusal) -> String? {
        guard let value = self[name], value.utf8.starts(with: "\(name)=".utf8) || value.utf8.contains(UInt8(ascii: "&"))
        else { return self[name] }
        return try Query(value[...])[name]
    }

    /// The query of the next page: this one with a new `name`. The position comes first: it stays readable when a
    /// client puts the whole query, unencoded, behind the parameter's name.
    func next(_ name: String, _ place: String) -> String {
        let places = ["cursor", "before", "after", "changed_since"]
        var parts: [String] = []
        for (name, value) in pairs where !value.isEmpty && !places.contains(where: { areSameBytes($0, name) }) {
            parts.append("\(uriEncoded(name))=\(uriEncoded(value))")
        }
        return (["\(name)=\(uriEncoded(place))"] + parts).joined(separator: "&")
    }

    func number(_ name: String, in range: ClosedRange<Int64>) throws(Refusal) -> Int64? {
        guard let text = try cursor(name) else { return nil }
        // Int64 also reads "+1".
        guard text.utf8.first != UInt8(ascii: "+"), let number = Int64(text), range.contains(number) else {
            let limits =
                range.upperBound == .max
                ? "from \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
            throw .invalid(name, "is not a whole number \(limits)")
        }
        return number
    }

    func seq(_ name: String) throws(Refusal) -> Int64? { try number(name, in: 0...Int64.max) }

    /// `Metadata.kind`: only entries of this kind.
    func kind() throws(Refusal) -> String? {
        let name = "Metadata.kind"
        guard let kind = pairs.first(where: { areSameBytes($0.name, name) })?.value else { return nil }
        guard !kind.isEmpty else { throw .invalid(name, "is empty") }
        return kind
    }

    /// The most entries of a page.
    func limit() throws(Refusal) -> Int { Int(try number("limit", in: 1...100) ?? 50) }
}

extension Refusal {
    static func twice(_ text: String, _ name: String) -> Refusal {
        Refusal(.malformed, text, field: String(name.prefix(64)))
    }
}

func percentDecoded(_ text: some StringProtocol, plus: Bool = false) throws(Refusal) -> String {
    guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return String(text) }
    guard let bytes = withoutPercentEscapes(text.utf8, plus: plus) else {
        throw Refusal(.malformed, "a % in the address is not followed by two hexadecimal digits")
    }
    // A NUL is never valid here, and PostgreSQL refuses it.
    guard !bytes.contains(0), let decoded = String(validating: bytes, as: UTF8.self) else {
        throw Refusal(.malformed, "the address is not UTF-8 without NUL")
    }
    return decoded
}
