import ChatCore
import Testing

@testable import ChatAdapters

struct TableTests {
    private struct Mark {
        var room = UUID128.zero
        var seq: Int64 = 0
        var note: String?
    }

    private enum MarkColumn: Int, Columns {
        case roomID, lastSeenSeq, madeAt, note

        func stored(of marks: [Mark]) -> PGValue {
            switch self {
            case .roomID: .uuids(marks.map(\.room))
            case .lastSeenSeq: .int8s(marks.map(\.seq))
            case .madeAt: .times(marks.map(\.seq))
            case .note: .jsonbs(marks.map(\.note))
            }
        }
    }

    private let table = Table<MarkColumn>("marks", as: "k", key: [.roomID], fixed: [.madeAt], defaulted: [.note])
    private let marks = [Mark(seq: 1), Mark(seq: 2, note: "[]")]

    @Test func aColumnIsSelectedByTheNameOfItsCase() {
        #expect(table.selected == "k.room_id, k.last_seen_seq, k.made_at, k.note")
    }

    @Test func insertLeavesOutDefaultsAndUpdateLeavesOutTheFixed() {
        let insert = "INSERT INTO marks (room_id, last_seen_seq, made_at) SELECT * FROM unnest($1, $2, $3)"
        #expect(table.insert(marks).text == insert)
        #expect(
            table.upsert(marks).text == insert
                + " ON CONFLICT (room_id) DO UPDATE SET last_seen_seq = EXCLUDED.last_seen_seq, note = EXCLUDED.note")
        #expect(
            table.update(marks).text
                == "UPDATE marks k SET last_seen_seq = n.last_seen_seq, note = n.note FROM unnest($1, $2, $3) "
                + "n (room_id, last_seen_seq, note) WHERE k.room_id = n.room_id")
    }

    @Test func eachParameterIsTheListOfItsColumn() {
        let parameters = table.update(marks).values
        #expect(parameters.map(\.oid) == [2951, 1016, 3807])
        var bytes: [UInt8] = []
        #expect(parameters[2].encode(into: &bytes))
        // Dimensions, a NULL, jsonb, two elements from 1: NULL, and the format version before the text.
        #expect(
            bytes == [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 14, 218, 0, 0, 0, 2, 0, 0, 0, 1]
                + [255, 255, 255, 255, 0, 0, 0, 3, 1] + Array("[]".utf8))
    }
}
