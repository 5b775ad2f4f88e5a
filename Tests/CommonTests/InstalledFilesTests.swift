import Testing

@testable import ChatCore

@Suite struct InstalledFilesTests {
    private func files(_ program: String?, _ folders: Set<String>) -> InstalledFiles {
        InstalledFiles(program: program) { folders.contains($0) }
    }

    @Test func aProgramFindsWhatIsInstalledBesideIt() {
        let found = files("/usr/bin/fcgi-api", ["/usr/bin/../share/chat/migrations"])
        #expect(found.folder(shared: "migrations", checkout: "Migrations") == "/usr/bin/../share/chat/migrations")
        #expect(found.folder(shared: "docs", checkout: "docs") == "docs")
    }

    @Test func aProgramWhoseFileWasReplacedFindsTheSame() {
        let found = files("/usr/bin/fcgi-api (deleted)", ["/usr/bin/../share/chat/docs"])
        #expect(found.folder(shared: "docs", checkout: "docs") == "/usr/bin/../share/chat/docs")
    }

    @Test func withoutAnyItIsTheCheckout() {
        #expect(files("/home/ann/chat/.build/release/fcgi-api", []).folder(shared: "docs", checkout: "docs") == "docs")
        #expect(files(nil, ["/../share/chat/docs"]).folder(shared: "docs", checkout: "docs") == "docs")
    }
}
