import ChatCore

/// The offers of clients in `Sec-WebSocket-Extensions` (RFC 7692 7.1), and the accepted one.
enum DeflateOffer {
    /// Neither end keeps its context after a message, whatever was offered: a server may require that.
    static let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    /// The answer to the first acceptable offer; nil when there is none. When an offer names the server's window, the
    /// answer repeats it (7.1.2.1): otherwise the offer would count as declined.
    static func answer(to offers: [String]) -> String? {
        guard let offer = offers.first(where: isAcceptable) else { return nil }
        let namesWindow = parts(of: offer, at: ";").contains { part in
            parts(of: part, at: "=", maxSplits: 1)[0] == "server_max_window_bits"
        }
        return answer + (namesWindow ? "; server_max_window_bits=15" : "")
    }

    /// Whether an offer is acceptable. One with a smaller window than ours is not, nor one with an unknown, invalid or
    /// repeated parameter: it is declined, and the socket is not compressed.
    static func isAcceptable(_ offers: [String]) -> Bool { offers.contains(where: isAcceptable) }

    private static func isAcceptable(_ offer: String) -> Bool {
        let parts = parts(of: offer, at: ";")
        guard parts.first == "permessage-deflate" else { return false }
        var seen: Set<String> = []
        return parts.dropFirst().allSatisfy { part in
            let pair = Self.parts(of: part, at: "=", maxSplits: 1)
            return seen.insert(pair[0]).inserted && isGood(pair[0], pair.count > 1 ? unquoted(pair[1]) : nil)
        }
    }

    private static func isGood(_ name: String, _ value: String?) -> Bool {
        switch name {
        case "server_no_context_takeover", "client_no_context_takeover": value == nil
        case "client_max_window_bits": value.map { bits($0) != nil } ?? true
        case "server_max_window_bits": value.flatMap(bits) == 15
        default: false
        }
    }

    /// 8 to 15, without a leading zero.
    private static func bits(_ text: String) -> Int? {
        guard let number = Int(text), (8...15).contains(number), "\(number)" == text else { return nil }
        return number
    }

    private static func unquoted(_ text: String) -> String {
        let (bytes, quote) = (text.utf8, UInt8(ascii: "\""))
        guard bytes.count >= 2, bytes.first == quote, bytes.last == quote else { return text }
        return String(Substring(bytes.dropFirst().dropLast()))
    }

    private static func parts(of text: String, at separator: Unicode.Scalar, maxSplits: Int = .max) -> [String] {
        pieces(of: text, at: UInt8(ascii: separator), maxSplits: maxSplits, omittingEmpty: false).map { trimmed($0) }
    }
}
