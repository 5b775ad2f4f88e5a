import ChatCore

/// A page of history, written straight from its rows.
final class PostgresMessagePage: MessagePage {
    private let rows: PGRows
    private let marks: SeenMarks

    init(_ rows: PGRows, _ marks: SeenMarks) {
        self.rows = rows
        self.marks = marks
    }

    var count: Int { rows.count }

    func write(_ index: Int, to writer: inout JSONWriter) {
        MessageRow(rows[index], marks: marks).writeFields(to: &writer)
    }

    func place(_ index: Int) -> (seq: Int64, changeSeq: Int64) {
        let row = MessageRow(rows[index])
        return (row.seq, row.changeSeq)
    }
}
