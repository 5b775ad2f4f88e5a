import ChatCore
import Testing

@Suite struct ImportReaderTests {
    private func problems(_ line: String) -> [String] {
        guard case .problems(let list) = ImportReader.read(Array(line.utf8)) else { return [] }
        return list
    }

    private func record(_ line: String) -> ImportRecord? {
        guard case .record(let record) = ImportReader.read(Array(line.utf8)) else { return nil }
        return record
    }

    @Test func aMessageOfTheHostHasTheSameIDsOnEveryRun() throws {
        let line = """
            {"Kind": "message", "ID": "5", "RoomID": "5", "SenderID": "5", "Content": "x", "CreatedAt": "2020-01-01T00:00:00Z"}
            """
        guard case .message(let one)? = record(line), case .message(let other)? = record(line) else {
            Issue.record("no message")
            return
        }
        #expect(one == other)
        // A room, a message and a user of one text are three.
        #expect(Set([one.message.id, one.message.roomID, one.message.senderID]).count == 3)
        #expect(one.message.seq == 0 && one.message.createdAt == 1_577_836_800_000)
    }

    @Test func allProblemsOfALineAreTold() {
        let line = """
            {"Kind": "message", "ID": "", "SenderID": 5, "CreatedAt": "x", "Seq": 9223372036854775808, "Odd": 1}
            """
        let found = problems(line)
        for word in ["'Odd'", "ID ", "RoomID", "SenderID", "CreatedAt", "Seq", "Content"] {
            #expect(found.contains { $0.hasPrefix(word) }, "\(word)")
        }
    }

    @Test func aUUIDKeepsItself() throws {
        let id = "0191e2a4-0000-7000-8000-000000000001"
        #expect(try ImportID.room(id).description == id)
        #expect(try ImportID.message(id.uppercased()).description == id)
    }

    @Test func aPrivateRoomIsThatOfItsPair() {
        let line = """
            {"Kind": "room", "ID": "dm", "Type": "PRIVATE", "OwnerID": "1", "Members": ["1", "2"], "CreatedAt": "2020-01-01T00:00:00Z"}
            """
        guard case .room(let room)? = record(line) else {
            Issue.record("no room")
            return
        }
        #expect(room.room.id == privateRoomID(room.pair[0], room.pair[1]) && room.given != room.room.id)
        #expect(
            problems(line.replacing("\"2\"", with: "\"1\"")) == ["Members of a PRIVATE room are two different users"])
    }

    @Test func kindsOfTheExportOfAUserArePassedOver() {
        for kind in ImportReader.exportOnly { #expect(record("{\"Kind\": \"\(kind)\"}") == .passedOver(kind: kind)) }
        #expect(problems("{\"Kind\": \"Message\"}") == ["Kind 'Message' is unknown"])
    }

    @Test func addressesThatABrowserMayBeLedTo() {
        #expect(ImportReader.isWebAddress("https://a/b?c=%20#d"))
        for bad in ["javascript:alert(1)", "https://a b", "//a", "https://a\r\nX: y", "https://\u{e9}", ""] {
            #expect(!ImportReader.isWebAddress(bad), "\(bad)")
        }
    }
}
