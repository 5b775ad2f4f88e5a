import ChatProcess
import Testing

@testable import fcgi_api

@Suite struct SetupAnswersTests {
    private final class Terminal {
        /// The lines that will be typed; behind the last one the terminal is closed.
        var typed: [String] = []
        var questions: [String] = []

        func ask(_ question: String) -> String? {
            questions.append(question)
            return typed.isEmpty ? nil : typed.removeFirst()
        }
    }

    private let terminal = Terminal()

    private func answers(
        _ words: [String] = [], old: String = "", environment: [String: String] = [:], typed: [String]? = nil,
        group: String? = nil
    ) throws -> (SetupAnswers, SettingsFile) {
        terminal.typed = typed ?? []
        let file = SettingsFile(old)
        let surroundings = SetupSurroundings(
            variable: { environment[$0] }, hasTerminal: typed != nil, ask: terminal.ask, groupOfNginx: group)
        return (SetupAnswers(try Setup.parse(words), file, surroundings), file)
    }

    private func filled(
        _ words: [String] = [], old: String = "DATABASE_URL=x\n", environment: [String: String] = [:],
        typed: [String]? = nil, group: String? = nil
    ) throws -> SettingsFile {
        let (answers, before) = try answers(words, old: old, environment: environment, typed: typed, group: group)
        var file = before
        try answers.fill(&file)
        return file
    }

    @Test func optionsComeBeforeTheEnvironment() throws {
        let environment = ["DATABASE_URL": "of the environment", "RABBITMQ_URL": "", "REDIS_URL": "redis://r"]
        let (answers, _) = try answers(["--database-url", "of the option"], environment: environment)
        #expect(answers.databaseURL == "of the option")
        // An empty variable is as none.
        #expect(answers.brokerURL == nil)
        #expect(try filled(environment: environment)["REDIS_URL"] == "redis://r")
        #expect(try filled(["--redis-url", "redis://o"], environment: environment)["REDIS_URL"] == "redis://o")
    }

    @Test func withoutATerminalNothingIsAskedAndNothingIsMade() throws {
        let (answers, _) = try answers()
        #expect(!answers.createsDatabase && !answers.createsBrokerUser)
        #expect(throws: OperatorError.self) { try filled(old: "") }
        #expect(terminal.questions.isEmpty)
    }

    @Test func aTerminalIsAskedForWhatNobodyGave() throws {
        let file = try filled(old: "", typed: ["host=db", "disk", "chat.example.org"])
        #expect(file["DATABASE_URL"] == "host=db")
        #expect(file["STORAGE"] == "disk:/var/lib/chat/files")
        #expect(file["PUBLIC_URL"] == "https://chat.example.org")
        #expect(terminal.questions.count == 3)
    }

    @Test(arguments: [("y", true), ("", true), ("yes", true), ("n", false), ("no", false)])
    func aDatabaseIsMadeWhenTheTerminalSaysSo(typed: String, isMade: Bool) throws {
        #expect(try answers(typed: [typed]).0.createsDatabase == isMade)
        #expect(try answers(typed: [typed]).0.createsBrokerUser == isMade)
    }

    /// Nobody has agreed.
    @Test func aTerminalThatIsClosedAgreesToNothing() throws {
        #expect(try !answers(typed: []).0.createsDatabase)
        #expect(throws: OperatorError.self) { try filled(old: "", typed: []) }
    }

    @Test func aServerThatIsNamedIsNotMade() throws {
        let environment = ["DATABASE_URL": "x", "RABBITMQ_URL": "y"]
        let (answers, _) = try answers(environment: environment, typed: ["y", "y"])
        #expect(!answers.createsDatabase && !answers.createsBrokerUser)
        #expect(terminal.questions.isEmpty)
    }

    @Test func anInstalledServiceAndADryRunAskNothing() throws {
        _ = try filled(old: "DATABASE_URL=x\n", typed: ["a", "b", "c"])
        let (dry, _) = try answers(["--dry-run"], typed: ["y"])
        #expect(!dry.createsDatabase)
        #expect(terminal.questions.isEmpty)
    }

    @Test func aSecretIsMadeOnceAndOnlyWhereNoKeyIs() throws {
        let first = try filled()
        let secret = try #require(first["JWT_SECRET"])
        #expect(secret.utf8.count == 64)
        #expect(try filled()["JWT_SECRET"] != secret)
        #expect(try filled(old: first.text)["JWT_SECRET"] == secret)
        for own in ["JWT_JWKS_FILE=/keys", "JWT_JWKS_URL=https://keys"] {
            #expect(try filled(old: "DATABASE_URL=x\n\(own)\n")["JWT_SECRET"] == nil)
        }
    }

    @Test func aNewServiceGivesItsSocketsToNginxesGroup() throws {
        #expect(try filled(old: "", typed: ["db", "none", "x"], group: "www-data")["SOCKET_GROUP"] == "www-data")
        #expect(try filled(old: "SOCKET_GROUP=own\n", typed: ["db"], group: "www-data")["SOCKET_GROUP"] == "own")
        // An operator may have left it out of an old one.
        #expect(try filled(group: "www-data")["SOCKET_GROUP"] == nil)
        #expect(try filled(old: "", typed: ["db", "none", "x"])["SOCKET_GROUP"] == nil)
    }

    @Test(
        arguments: [
            ("disk", "disk:/var/lib/chat/files"), ("disk:/srv/files", "disk:/srv/files"), ("none", nil),
        ] as [(String, String?)])
    func filesAreKeptWhereTheOptionSays(option: String, storage: String?) throws {
        #expect(try filled(["--storage", option])["STORAGE"] == storage)
    }

    @Test func anotherStorageIsRefused() {
        for wrong in ["disc", "disk:relative", "S3"] {
            let error = #expect(throws: OperatorError.self) { try filled(["--storage", wrong]) }
            #expect("\(error!)".contains(wrong))
        }
    }

    @Test func s3NeedsAnAddressAndTakesItsKeysFromTheEnvironment() throws {
        #expect(throws: OperatorError.self) { try filled(["--storage", "s3"]) }
        let file = try filled(
            ["--storage", "s3", "--s3-endpoint", "https://s3", "--s3-bucket", "b"],
            environment: ["S3_ACCESS_KEY": "k", "S3_SECRET_KEY": "s"])
        #expect(
            ["STORAGE", "S3_ENDPOINT", "S3_BUCKET_NAME", "S3_ACCESS_KEY", "S3_SECRET_KEY"].map { file[$0] }
                == ["s3", "https://s3", "b", "k", "s"])
    }

    @Test(arguments: [
        (["--domain", "chat.example.org"], "https://chat.example.org"),
        (["--domain", "chat.example.org:8443", "--prefix", "/talk"], "https://chat.example.org:8443/talk"),
        (["--domain", "chat.example.org", "--plain-http"], "http://chat.example.org"),
        (["--domain", "localhost"], "http://localhost"), (["--domain", "localhost:8000"], "http://localhost:8000"),
        (["--domain", "127.0.0.1:8000"], "http://127.0.0.1:8000"),
        // Another machine's name that begins alike.
        (["--domain", "localhost.example.org"], "https://localhost.example.org"),
    ])
    func clientsUseHTTPSExceptOnThisMachine(words: [String], url: String) throws {
        #expect(try filled(words)["PUBLIC_URL"] == url)
    }

    @Test func theDomainOfAnInstalledServiceStays() throws {
        let file = try filled(old: "DATABASE_URL=x\nJWT_SECRET=y\nPUBLIC_URL=https://old\n")
        #expect(file["PUBLIC_URL"] == "https://old" && file.changed.isEmpty)
    }
}
