/// The words to search for. All must occur; the last one may be the beginning of a longer word, so that results appear
/// while the user types. The store defines what a word is.
public struct SearchWords: Sendable, Equatable {
    public let query: String

    /// Nil when `text` is blank.
    public init?(_ text: String) {
        guard text.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else { return nil }
        query = text
    }
}

/// A message that was found, with its matches.
public struct SearchHit: WireShape, Sendable, Equatable {
    public var message: Message
    /// The position of the hit among all hits.
    public var place: SearchCursor
    /// The matching parts of the content, in Unicode scalars.
    public var marks: [Range<Int>]

    public init(message: Message, place: SearchCursor, marks: [Range<Int>]) {
        self.message = message
        self.place = place
        self.marks = marks
    }

    /// A larger rank is better, which means newer: Unix milliseconds.
    public var rank: Int64 { place.at / 1000 }

    /// Reads a text with each match between U+0002 and U+0003, which no content contains. A match inside another is a
    /// part of it.
    public static func marks(in marked: String) -> [Range<Int>] {
        var marks: [Range<Int>] = []
        var (at, start, depth) = (0, 0, 0)
        for scalar in marked.unicodeScalars {
            switch scalar {
            case "\u{2}":
                if depth == 0 { start = at }
                depth += 1
            case "\u{3}":
                depth -= 1
                if depth == 0 { marks.append(start..<at) }
            default: at += 1
            }
        }
        return marks
    }

    /// Maps marks from the text that the store compared to the text as it was written. `runs` gives, for each piece of
    /// both, its number of scalars as written and as compared. A piece whose two lengths differ is marked as a whole.
    public static func marks(_ marks: [Range<Int>], asWritten runs: [(written: Int, compared: Int)]) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var next = marks[...]
        var (written, compared) = (0, 0)
        for run in runs {
            let piece = compared..<compared + run.compared
            while let mark = next.first, mark.lowerBound < piece.upperBound {
                let part = mark.clamped(to: piece)
                let here =
                    run.written == run.compared
                    ? part.lowerBound - compared + written..<part.upperBound - compared + written
                    : written..<written + run.written
                if let last = found.last, last.upperBound >= here.lowerBound {
                    found[found.count - 1] = last.lowerBound..<max(last.upperBound, here.upperBound)
                } else {
                    found.append(here)
                }
                guard mark.upperBound <= piece.upperBound else { break }
                next.removeFirst()
            }
            written += run.written
            compared += run.compared
        }
        return found.filter { !$0.isEmpty }
    }

    /// Writes the message, its rank and its marks.
    public func write<W: WireWriter>(to writer: inout W) {
        message.writeFields(to: &writer) {
            $0.field("Rank", rank)
            $0.array("Marks", marks) { writer, mark in
                writer.map {
                    $0.field("Start", mark.lowerBound)
                    $0.field("Length", mark.count)
                }
            }
        }
    }
}

/// The position of a hit: newest first, then by room and Seq. It stays valid when new messages arrive.
public struct SearchCursor: Sendable, Equatable {
    /// Unix microseconds.
    public var at: Int64
    public var room: UUID128
    public var seq: Int64

    public init(at: Int64, room: UUID128, seq: Int64) {
        self.at = at
        self.room = room
        self.seq = seq
    }

    /// The text form for clients, who must treat it as opaque.
    public var text: String { "\(at)_\(room)_\(seq)" }

    public init?(text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
        guard parts.count == 3, let at = Int64(Substring(parts[0])), Self.times.contains(at),
            let room = UUID128(String(Substring(parts[1]))), let seq = Int64(Substring(parts[2])), seq >= 0
        else { return nil }
        self.init(at: at, room: room, seq: seq)
    }

    /// Until the year 2255: the range that a double counts exactly.
    private static let times: Range<Int64> = 0..<1 << 53
}

/// The reason why a search has no result.
public enum SearchTrouble: Error, Sendable {
    /// Another search of the same user is running.
    case running
    /// The search would exceed its time limit.
    case tooSlow
}
