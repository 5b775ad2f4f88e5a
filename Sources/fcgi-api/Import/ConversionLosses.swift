import ChatCore

/// Elements that a converter left out: how often, by reason, and where the first of them are. A reason may quote the export, so their
/// number is bounded.
struct ConversionLosses {
    private struct Entry {
        var reason: String
        var count = 0
        var places: [String] = []
    }

    private static let reasons = 50
    private static let places = 3
    private static let others = "something else"
    private var entries: [ByteText: Entry] = [:]

    mutating func note(_ reason: String, at place: () -> String) {
        let isFull = entries.count >= Self.reasons && entries[ByteText(reason)] == nil
        let reason = isFull ? Self.others : reason
        var entry = entries.removeValue(forKey: ByteText(reason)) ?? Entry(reason: reason)
        entry.count += 1
        if entry.places.count < Self.places { entry.places.append(place()) }
        entries[ByteText(reason)] = entry
    }

    /// A sentence for each reason.
    var sentences: [String] {
        entries.sorted { $0.key < $1.key }.map { _, entry in
            let places = entry.places.filter { !$0.isEmpty }.joined(separator: ", ")
            let more = entry.count > entry.places.count ? " …" : ""
            return "left out: \(entry.count) × \(entry.reason)" + (places.isEmpty ? "" : " [\(places)\(more)]")
        }
    }
}
