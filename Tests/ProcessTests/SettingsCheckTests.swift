import ChatCore
import Glibc
import TestSupport
import Testing

@testable import ChatCommands
@testable import ChatProcess

@Suite final class SettingsCheckTests {
    private let folder: String
    private var notes: [String] = []

    init() {
        folder = "/tmp/check-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
    }

    deinit {
        for name in ["x.env", "pools.d/p.conf"] { unlink("\(folder)/\(name)") }
        for name in ["/pools.d", ""] { rmdir(folder + name) }
    }

    /// - Parameter text: of the file of settings; nil: there is none.
    private func problems(
        _ values: [String: String] = [:], text: String? = nil, pools: [PoolSpec] = [], program: String = "fcgi-api",
        isStart: Bool = false
    ) throws -> [String] {
        notes = []
        let path = "\(folder)/x.env"
        if let text { write(text, to: path) }
        let settings = try Settings(
            testing: ["RUN_DIR": folder, "FCGI_POOLS_DIR": ""].merging(values) { _, own in own })
        do {
            try SettingsCheck(
                settings, file: text == nil ? nil : path, pools: pools, program: program, isStart: isStart,
                note: { self.notes.append($0) }
            ).run()
            return []
        } catch let error as SettingsError {
            return error.problems
        }
    }

    private func write(_ text: String, to path: String) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(file) }
        #expect(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
    }

    private let good = ["DATABASE_URL": "host=db"]

    @Test(arguments: ["fcgi-api", "ws-relay", "queue-worker"], [false, true])
    func goodSettingsAreGood(program: String, isStart: Bool) throws {
        #expect(try problems(good, text: "DATABASE_URL=host=db\n", program: program, isStart: isStart) == [])
        #expect(notes.isEmpty)
    }

    @Test func aWrongConnectionStringIsNamedAndItsPasswordIsNot() throws {
        let found = try problems([
            "DATABASE_URL": "host=db password='secret", "DATABASE_READ_URL": "hots=secret",
            "DATABASE_DIRECT_URL": "host=db password='secret",
        ])
        // The direct one is the same text: it is said once.
        #expect(found.map { $0.prefix { $0 != ":" } } == ["DATABASE_URL", "DATABASE_READ_URL"])
        #expect(found.allSatisfy { !$0.contains("secret") })
    }

    @Test func allProblemsAreSaidAtOnceWithTheirLines() throws {
        let found = try problems(
            ["DATABASE_URL": "hots=1", "SOCKET_GROUP": "nobody-has-this", "TLS_CA_FILE": "/none/ca.pem"],
            text: "# ours\nSOCKET_GROUP=nobody-has-this\nDATABASE_URL=hots=1\n")
        #expect(found.count == 3)
        #expect(found.contains { $0.hasPrefix("\(folder)/x.env, line 3: DATABASE_URL: ") })
        #expect(found.contains { $0.hasPrefix("\(folder)/x.env, line 2: SOCKET_GROUP=nobody-has-this: there is no") })
        // It comes from elsewhere.
        #expect(found.contains { $0.hasPrefix("TLS_CA_FILE=/none/ca.pem cannot be read") })
    }

    @Test func twoPoolsOnOneSocketAreRefused() throws {
        let socket = "unix:\(folder)/a.sock"
        let found = try problems(
            good.merging(["FCGI_ROOMS_LISTEN": socket, "FCGI_SEARCH_LISTEN": socket, "WS_LISTEN": socket]) { $1 })
        #expect(
            found == [
                "FCGI_SEARCH_LISTEN=\(socket) is the address of FCGI_ROOMS_LISTEN",
                "WS_LISTEN=\(socket) is the address of FCGI_ROOMS_LISTEN",
            ])
    }

    @Test func aSocketIsNotInPlaceOfAFileOfTheProgramsOwn() throws {
        let found = try problems(good.merging(["WS_LISTEN": "unix:\(folder)/fcgi-api.control"]) { $1 })
        #expect(found == ["WS_LISTEN=unix:\(folder)/fcgi-api.control is a file of these programs"])
    }

    @Test func anotherMachinesAddressIsNotListenedOn() throws {
        let pool = PoolSpec(
            name: "rooms", place: "p.conf, line 1", workers: 1,
            listen: [try ListenAddress(parsing: "192.0.2.1:9000", mode: 0o660, group: nil)])
        let found = try problems(good, pools: [pool])
        #expect(found.count == 1)
        #expect(found[0].hasPrefix("p.conf, line 1: the pool rooms cannot listen on 192.0.2.1:9000"))
    }

    @Test func aPoolsOwnDatabaseIsCheckedToo() throws {
        let pool = PoolSpec(name: "search", workers: 1, environment: ["DATABASE_READ_URL": "hots=secret"])
        let found = try problems(good, pools: [pool])
        #expect(found.count == 1)
        #expect(found[0].hasPrefix("the pool search: env[DATABASE_READ_URL]: "))
        #expect(!found[0].contains("secret"))
    }

    @Test func moreWorkersThanRowsAreRefused() throws {
        let most = Scoreboard.workerRows
        #expect(try problems(good, pools: [PoolSpec(name: "a", workers: most)]) == [])
        let found = try problems(
            good, pools: [PoolSpec(name: "a", workers: 1, maxWorkers: most), PoolSpec(name: "b", workers: 1)])
        #expect(found.count == 1 && found[0].contains("(a \(most), b 1)"))
    }

    @Test func aLogIsNotAppendedToAFileThatIsRead() throws {
        mkdir("\(folder)/pools.d", 0o700)
        write("[search]\naccess_log = \(folder)/./x.env\n", to: "\(folder)/pools.d/p.conf")
        let found = try problems(
            good.merging(["FCGI_POOLS_DIR": "\(folder)/pools.d"]) { $1 }, text: "DATABASE_URL=host=db\n")
        #expect(found.count == 1)
        #expect(found.first?.contains("access_log: \(folder)/./x.env is the file of settings") == true)
    }

    @Test func aMisspeltNameIsAProblemOfACheckAndANoteOfAStart() throws {
        let text = "FCGI_ROMS_WORKERS=2\nOTHER_PROGRAMS_OWN_NAME=3\n"
        let found = try problems(good, text: text)
        let said = "\(folder)/x.env, line 1: FCGI_ROMS_WORKERS is not a setting; did you mean FCGI_ROOMS_WORKERS?"
        #expect(found == [said])
        // Nothing of ours is like the other one.
        #expect(notes.count == 1 && notes[0].contains("line 2: OTHER_PROGRAMS_OWN_NAME"))
        #expect(try problems(good, text: text, isStart: true) == [])
        #expect(notes.contains(said))
    }

    /// Another one may be another user's, or on another machine.
    @Test(arguments: [
        ("SOCKET_GROUP", "nobody-has-this", ["fcgi-api", "ws-relay"]),
        ("JWT_JWKS_FILE", "/none/keys.json", ["fcgi-api", "ws-relay"]),
        ("FCM_SERVICE_ACCOUNT_FILE", "/none/fcm.json", ["queue-worker"]),
        ("TLS_CA_FILE", "/none/ca.pem", ["fcgi-api", "ws-relay", "queue-worker"]),
    ])
    func aStartChecksWhatTheProgramItselfUses(name: String, value: String, users: [String]) throws {
        for program in ["fcgi-api", "ws-relay", "queue-worker"] {
            let values = good.merging([name: value]) { $1 }
            let found = try problems(values, program: program, isStart: true)
            #expect(found.isEmpty != users.contains(program), "\(program)")
            #expect(try !problems(values, program: program).isEmpty, "\(program)")
        }
    }
}
