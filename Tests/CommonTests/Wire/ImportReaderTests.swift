import ChatCore
import Testing

@Suite struct ImportReaderTests {
    private func problems(_ line: String) -> [String] {
        guard case .problems(let list) = ImportReader.read(Array(line.utf8), now: 1_800_000_000_000) else { return [] }
        return list
    }

    private func record(_ line: String) -> ImportRecord? {
        guard case .record(let record) = ImportReader.read(Array(line.utf8), now: 1_800_000_000_000) else { return nil }
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

    @Test func aFileNameIsPlainAsThatOfTheAPI() {
        let line = #"""
            {"Kind": "message", "ID": "5", "RoomID": "5", "SenderID": "5", "Content": "cod\u202efdp.exe", "ContentType": "file",
            "File": {"Name": "cod\u202efdp.exe"}, "CreatedAt": "2020-01-01T00:00:00Z"}
            """#
        guard case .message(let found)? = record(line) else {
            Issue.record("no message")
            return
        }
        #expect(found.message.content == "codfdp.exe" && found.message.file?.name == "codfdp.exe")
        let dots = line.replacing("{\"Name\": \"cod\\u202efdp.exe\"", with: "{\"Name\": \"\\u202e..\"")
        #expect(problems(dots) == ["File: Name is not a plain file name"])
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
        for good in [
            "https://a/b?c=%20#d", "http://a", "https://A-b.example:8443/x@y", "https://[::1]:80/", "https://a?b@c",
        ] {
            #expect(WebAddress.isLink(good), "\(good)")
        }
        for bad in [
            "javascript:alert(1)", "https://a b", "//a", "https://a\r\nX: y", "https://\u{e9}", "", "http:///x",
            "https://",
            "https://u@h/x", "https://u:p@h/x", "https://:80/", "https://h:/", "https://h:0/", "https://h:65536/",
            "https://h:1x/",
            "https://h:000001/", "https://[::1", "https://[]/", "https://[a]/", "https://[::1]x/", "https://h%2f/",
            "HTTPS://h",
            "https://" + String(repeating: "a", count: 2041),
        ] {
            #expect(!WebAddress.isLink(bad), "\(bad)")
        }
    }

    @Test func nothingOfTheFutureIsTaken() {
        let line = """
            {"Kind": "member", "RoomID": "1", "UserID": "1", "JoinedAt": "TIME", "MutedUntil": "9999-01-01T00:00:00Z"}
            """
        // Unix 1,800,000,000 is 2027-01-15T08:00:00Z; clocks differ by five minutes.
        #expect(problems(line.replacing("TIME", with: "2027-01-15T08:05:00Z")).isEmpty)
        #expect(problems(line.replacing("TIME", with: "2027-01-15T08:05:01Z")) == ["JoinedAt is in the future"])
    }
}
