import Testing

@testable import ChatCore

@Suite struct HostUserTests {
    @Test func aUUIDIsItself() throws {
        let id = UUID128("01900000-0000-7000-8000-00000000abcd")!
        for text in ["01900000-0000-7000-8000-00000000abcd", "01900000-0000-7000-8000-00000000ABCD"] {
            #expect(try HostUser(text) == HostUser(id))
        }
    }

    /// As any program of the host can compute it: `uuid.uuid5(namespace, "4711")` in Python.
    @Test func otherTextIsTheUUIDv5OfItsBytes() throws {
        #expect(HostUser.standardNamespace.description == "3b0c4a9e-7d15-4f62-a8f1-5c27e09bd643")
        let user = try HostUser("4711")
        #expect(user.id.description == "1eefe4bb-ad19-525b-89df-654a27201d38")
        #expect(user.externalID == "4711")
        #expect(try HostUser("é").id.description == "c30948ee-1fb3-53f7-bab1-9e81fed76488")
    }

    @Test(arguments: [
        ("Bob", "bob"), ("é", "e\u{301}"), ("4711", "04711"), (" a", "a"), ("Å", "\u{212b}"),
        ("01900000-0000-7000-8000-00000000abcd", "{01900000-0000-7000-8000-00000000abcd}"),
        ("01900000-0000-7000-8000-00000000abcd", "0190000000007000800000000000abcd"),
    ])
    func otherBytesAreAnotherUser(_ one: String, _ other: String) throws {
        #expect(try HostUser(one).id != HostUser(other).id)
    }

    @Test(arguments: [
        ("", "is empty"), (String(repeating: "a", count: 129), "has more than 128 bytes"),
        (String(repeating: "é", count: 65), "has more than 128 bytes"), ("a\u{0}", "has control characters"),
        ("\r\n", "has control characters"), ("a\u{7f}", "has control characters"),
        ("\u{85}", "has control characters"),
    ])
    func whatNamesNobodyIsRefused(_ text: String, _ problem: String) {
        #expect {
            _ = try HostUser(text)
        } throws: { ($0 as? HostUser.Problem)?.text == problem }
    }

    @Test func namesTravelWithCommandsAndOlderProgramsPassOverThem() throws {
        let user = try HostUser("4711")
        var command = Command(
            id: .zero, room: .zero, actor: .zero, acceptedAt: 1, names: [user.id: "4711"],
            action: .addMembers([user.id]))
        #expect(try Command.decodeAll(command.joinedAlone) == [command])
        command.isHost = true
        #expect(try Command.decodeAll(command.joinedAlone) == [command])
        command.names = [:]
        #expect(try Command.decodeAll(command.joinedAlone) == [command])
    }
}
