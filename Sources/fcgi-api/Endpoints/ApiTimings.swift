import ChatCore
import ChatProcess

/// The program's histograms: durations of requests by family of endpoints, and of the broker's confirms.
enum ApiTimings {
    /// The number of families is fixed: every unknown address counts as `other`.
    private static let families = [
        "account", "admin", "files", "members", "messages", "rooms", "search", "session", "uploads", "users", "other",
    ]
    private static let places = Dictionary(uniqueKeysWithValues: families.enumerated().map { ($1, $0) })
    static let names =
        families.map { "request_duration_seconds{endpoint=\"\($0)\"}" } + [
            "confirm_seconds", "request_wait_seconds",
        ]
    static let confirm = names.count - 2
    static let wait = names.count - 1

    /// Chooses by the first word of an address; below a room, by messages, files or members.
    static func place(of path: String) -> Int {
        let words = pieces(of: path, at: UInt8(ascii: "/"), maxSplits: 3).map(String.init)
        let first = words.first ?? ""
        if first == "rooms", words.count > 2, ["messages", "files", "members"].contains(words[2]) {
            return places[words[2]]!
        }
        if first == "devices" || first == "ws-ticket" { return places["account"]! }
        return places[first] ?? families.count - 1
    }
}
