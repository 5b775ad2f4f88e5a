import ChatAdapters
import Testing

@Suite struct PostgresAddressTests {
    /// libpq shows the whole text that it cannot read.
    @Test(arguments: [
        "postgresql://user:secret@host:port/chat", "postgresql://user:secret@[host/chat", "host=h password='secret",
        "postgresql://user:secret@host/chat?secret=1",
    ])
    func anErrorHasNoPartOfTheAddress(_ url: String) {
        let connection = PostgresConnection(url: url, applicationName: "test")
        let error = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error?.message.isEmpty == false)
        #expect(error?.message.contains("secret") == false)
    }
}
