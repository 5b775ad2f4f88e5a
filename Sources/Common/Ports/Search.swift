/// What to look for, as PostgreSQL's `to_tsquery` reads it. All words must be there; the last one may be the beginning
/// of a longer word, so that one can look while one types.
public struct SearchWords: Sendable, Equatable {
    public let query: String

    /// Nil when `text` holds no word at all.
    public init?(_ text: String) {
        let words = text.split(whereSeparator: \.isWhitespace).map { word in
            // In quotes everything is text; these two would end them.
            "'" + word.flatMap { $0 == "'" || $0 == "\\" ? [$0, $0] : [$0] } + "'"
        }
        guard !words.isEmpty else { return nil }
        query = words.joined(separator: " & ") + ":*"
    }
}

/// A message that was found, and why.
public struct SearchHit: Sendable, Equatable {
    public var message: Message
    /// Larger is better; millionths of PostgreSQL's `ts_rank`.
    public var rank: Int64
    /// Which parts of the content match, in Unicode scalars.
    public var marks: [Range<Int>]

    public init(message: Message, rank: Int64, marks: [Range<Int>]) {
        self.message = message
        self.rank = rank
        self.marks = marks
    }

    /// Reads a content in which each match stands between U+0002 and U+0003, which no content has.
    public static func marks(in marked: String) -> [Range<Int>] {
        var marks: [Range<Int>] = []
        var (at, start) = (0, 0)
        for scalar in marked.unicodeScalars {
            switch scalar {
            case "\u{2}": start = at
            case "\u{3}": marks.append(start..<at)
            default: at += 1
            }
        }
        return marks
    }

    /// The message, and how it was found.
    public func write<W: WireWriter>(to writer: inout W) {
        message.writeFields(to: &writer, and: 2) { writer in
            writer.key("Rank")
            writer.int(rank)
            writer.key("Marks")
            writeMarks(to: &writer)
        }
    }

    private func writeMarks<W: WireWriter>(to writer: inout W) {
        writer.beginArray(marks.count)
        for mark in marks {
            writer.beginMap(2)
            writer.key("Start")
            writer.int(Int64(mark.lowerBound))
            writer.key("Length")
            writer.int(Int64(mark.count))
            writer.endMap()
        }
        writer.endArray()
    }
}

/// Where a page of hits ends. The next one begins there also when messages have come meanwhile.
public struct SearchCursor: Sendable, Equatable {
    public var rank: Int64
    public var message: UUID128

    public init(_ hit: SearchHit) { (rank, message) = (hit.rank, hit.message.id) }

    /// As clients carry it: opaque to them.
    public var text: String { "\(rank)_\(message)" }

    public init?(text: String) {
        guard let parts = CursorText(text) else { return nil }
        (rank, message) = (parts.number, parts.id)
    }
}
