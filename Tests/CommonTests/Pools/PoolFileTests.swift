import Glibc
import TestSupport
import Testing

@testable import ChatCore

@Suite struct PoolFileTests {
    private func settings(_ more: [String: String] = [:]) throws -> Settings {
        try Settings(testing: ["RUN_DIR": "/run/chat"].merging(more) { $1 })
    }

    private func pools(_ text: String, _ more: [String: String] = [:]) throws -> [PoolSettings] {
        try PoolFolder.pools([PoolFile(path: "p.conf", Array(text.utf8))], settings(more))
    }

    @Test func aPoolHasItsFilesValuesOverThoseOfTheSettings() throws {
        let found = try pools(
            """
            ; ours
            [search]
            routes = search
            workers = dynamic
            workers.min = 2
            workers.max = 8
            time_limit = 5s
            [tenant]\r
            listen = /run/chat/t.sock
            routes = send, history uploads
            hosts = noisy.example
            workers = ondemand
            workers.max = 3
            memory_limit = 1G
            env[LOG_LEVEL] = debug
            access_log.format = "a \\"%m\\" %s"
            """, ["FCGI_SEARCH_TIME_LIMIT": "9", "FCGI_SEARCH_MEMORY_LIMIT": "77", "FCGI_ROOMS_WORKERS": "5"])
        #expect(found.map(\.name) == ["rooms", "messages", "search", "uploads", "account", "tenant"])
        #expect(found[0].workers == 5 && found[0].place == nil)
        #expect(found[2].workers == 2 && found[2].maxWorkers == 8 && found[2].timeLimit == .seconds(5))
        #expect(found[2].memoryLimit == 77 << 20)
        let tenant = found[5]
        #expect(tenant.listen == "unix:/run/chat/t.sock" && tenant.isOnDemand && tenant.workers == 0)
        #expect(tenant.routes == ["send", "history", "uploads"])
        #expect(tenant.environment == ["LOG_LEVEL": "debug"] && tenant.accessFormat == #"a "%m" %s"#)
        #expect(tenant.families?.contains(.messages) == true && tenant.families?.contains(.account) == false)
    }

    @Test(arguments: ["1", "63"]) func aLimitThatEveryWorkerExceedsIsRefused(_ text: String) throws {
        let error = #expect(throws: SettingsError.self) { try settings(["FCGI_ROOMS_MEMORY_LIMIT": text]) }
        #expect(error?.description.contains("FCGI_ROOMS_MEMORY_LIMIT=\(text): a worker needs up to 64 MiB") == true)
        #expect(try settings(["FCGI_ROOMS_MEMORY_LIMIT": "0"]).fcgi.pools[0].memoryLimit == 0)
        #expect(try settings(["FCGI_ROOMS_MEMORY_LIMIT": "64"]).fcgi.pools[0].memoryLimit == 64 << 20)
    }

    @Test func withoutFilesThePoolsAreThoseOfTheSettings() throws {
        #expect(try pools("") == settings().fcgi.pools)
        #expect(try pools("[search]\nroutes = search\n")[2].maxWorkers == settings().fcgi.pools[2].maxWorkers)
    }

    @Test(
        arguments: [
            ("x = 1", "p.conf:1: x stands before the first [section]"),
            ("[a b]", "p.conf:1: \"a b\" is not a pool's name"),
            ("[a]\nroutes = \n[a]", "p.conf:3: the pool a is already in line 1"),
            ("[search]\nword", "p.conf:2: the line is neither"),
            ("[search]\nworkers = many", "p.conf:2: workers: \"many\" is not one of: static, dynamic, ondemand"),
            ("[search]\nworkers.mx = 2", "p.conf:2: workers.mx: a pool has no such key; did you mean workers.max?"),
            (
                "[search]\nworkers.min = 5\nworkers.max = 2",
                "p.conf:2: workers.min: 5 is more than workers.max, which is 2"
            ),
            ("[search]\nworkers = static\nworkers.min = 1\nworkers.max = 2", "p.conf:3: workers.min: it means nothing"),
            (
                "[search]\nworkers = static\nworkers.idle_timeout = 5s",
                "p.conf:3: workers.idle_timeout: it means nothing"
            ),
            ("[search]\nworkers = ondemand\nworkers.min_spare = 1", "p.conf:3: workers.min_spare: it means nothing"),
            ("[search]\nroutes = serch", "p.conf:2: routes: there is no route serch"),
            ("[search]\nroutes = send, send", "p.conf:2: routes: it names one of them twice"),
            ("[search]\ntime_limit = 1x", "p.conf:2: time_limit: \"1x\" is not a time"),
            ("[search]\ntime_limit = 99999999999999999999h", "p.conf:2: time_limit: "),
            ("[search]\nmemory_limit = 9223372036854775807G", "p.conf:2: memory_limit: "),
            ("[search]\nmemory_limit = 1M", "p.conf:2: memory_limit: a worker needs up to 64 MiB; write that or more"),
            ("[search]\nlisten.mode = 0444", "p.conf:2: listen.mode: with \"0444\" no client could connect"),
            ("[search]\nmax_requests = -1", "p.conf:2: max_requests: \"-1\" is not a whole number"),
            ("[search]\nlisten.mode = 0999", "p.conf:2: listen.mode: "),
            ("[search]\nuser = nobody-has-this", "p.conf:2: user: there is no user nobody-has-this"),
            ("[search]\nlisten.group = nobody-has-this", "p.conf:2: listen.group: there is no group nobody-has-this"),
            ("[search]\nslow_log = rel.log", "p.conf:2: slow_log: \"rel.log\" is not the absolute path"),
            ("[search]\naccess_log = /none/here/a.log", "p.conf:2: access_log: there is no folder /none/here"),
            ("[search]\naccess_log.format = %x", "p.conf:2: access_log.format: it has no code %x"),
            ("[search]\naccess_log.format = \"%m", "p.conf:2: access_log.format: the quotation marks"),
            ("[search]\nstatus.path = /rooms/x", "p.conf:2: status.path: /rooms/x is the address of"),
            ("[search]\nstatus.path = /a b", "p.conf:2: status.path: \"/a b\" is not a path"),
            ("[search]\nenv[FCGI_X] = 1", "p.conf:2: env[FCGI_X]: FCGI_X is the master's"),
            ("[search]\nenv[RABBITMQ_PREFIX] = x", "p.conf:2: env[RABBITMQ_PREFIX]: RABBITMQ_PREFIX is the master's"),
            ("[search]\nenv[RABBITMQ_TOTAL_QUEUE] = 3", "p.conf:2: env[RABBITMQ_TOTAL_QUEUE]: RABBITMQ_TOTAL_QUEUE is"),
            ("[search]\nenv[RABBITMQ_HASH_KEY] = user", "p.conf:2: env[RABBITMQ_HASH_KEY]: RABBITMQ_HASH_KEY is"),
            ("[search]\nenv[USER_NAMESPACE] =", "p.conf:2: env[USER_NAMESPACE]: USER_NAMESPACE is the master's"),
            ("[search]\nenv[STORAGE] = disk:/x", "p.conf:2: env[STORAGE]: STORAGE is the master's"),
            ("[search]\nslow_log = /run/chat/fcgi-api.pid", "p.conf:2: slow_log: /run/chat/fcgi-api.pid is a file of"),
            ("[search]\naccess_log = /run/chat/./.x", "p.conf:2: access_log: /run/chat/./.x is a file of"),
            ("[search]\nlisten = /etc/passwd/x.sock", "p.conf:2: listen: /etc/passwd is not a folder"),
            ("[search]\nenv[] = 1", "p.conf:2: env[]: \"\" is not the name of a variable"),
            ("[search]\nnice = -1", "p.conf:2: nice: \"-1\" is not a whole number from 0 to 19"),
            ("[search]\nrlimit.memory = 1M", "p.conf:2: rlimit.memory: \"1M\" is not a size from 256M"),
            ("[search]\nslow_log = /tmp", "p.conf:2: slow_log: /tmp is a folder"),
            ("[search]\nlisten.mode = +660", "p.conf:2: listen.mode: "),
            ("[\u{301}search]", "p.conf:1: "),
            ("[search]\u{301}", "p.conf:1: "),
            ("[search]\n\0", "p.conf:2: the line is not plain UTF-8 text"),
            ("[search]\nenv[DATABASE_URL] postgres://u:secret@h/d", "p.conf:2: the line is neither"),
            ("[search]\nhosts = a.example", "p.conf:2: hosts: the pool search serves every host"),
            ("[own]\nworkers.max = 2", "p.conf:1: the pool own has no routes"),
            ("[own]\nroutes = send\nlisten = unix:/run//chat/./fcgi-rooms.sock", "p.conf:3: listen: "),
            ("[a]\nroutes = send\n[b]\nroutes = send", "p.conf:4: routes: the pool a has the route send already"),
            ("[search]\nmax_wait = 1\u{1}", "p.conf:2: the line is not plain UTF-8 text"),
        ])
    func badFilesAreNamedWithTheirLine(_ text: String, _ said: String) {
        let error = #expect(throws: SettingsError.self) { try pools(text) }
        #expect(error?.problems.contains { $0.hasPrefix(said) } == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("secret") == false)
    }

    @Test func filesAreBounded() {
        for text in [String(repeating: ";", count: 70_000), String(repeating: "a", count: 5000)] {
            #expect(throws: SettingsError.self) { try pools(text) }
        }
        let many = (0..<70).map { "[p\($0)]\nroutes =\n" }.joined()
        let error = #expect(throws: SettingsError.self) { try pools(many) }
        #expect(error?.description.contains("75 pools are too many: 64 at most") == true)
    }

    @Test func aWorkerReadsThePoolThatItsMasterHas() throws {
        let settings = try settings()
        let files = PoolFile(
            path: "p.conf",
            Array(
                """
                [own]
                routes = send, search
                workers = dynamic
                workers.min = 2
                workers.max = 9
                workers.min_spare = 1
                workers.max_spare = 4
                max_wait = 750ms
                slow_log = "/tmp/a b.log"
                nice = 7
                rlimit.core = unlimited
                rlimit.files = 1000
                ping.path = /ping/own
                ping.response = "it \\"works\\""
                [idle]
                routes =
                workers = ondemand
                workers.idle_timeout = 3s
                """.utf8))
        for var pool in try PoolFolder.pools([files], settings) {
            var told = try PoolSettings(told: pool.text, in: settings)
            (told.place, pool.place) = (nil, nil)
            // A pool of the settings alone has no explicit values; the text has them all.
            #expect(told == pool)
        }
    }

    @Test func aKeyOfANewerMasterIsLeftOut() throws {
        let told = try PoolSettings(told: "[search]\nworkers.max = 3\nfrom_later = 1\n", in: settings())
        #expect(told.maxWorkers == 3)
    }

    @Test func aFileThatIsNoneIsRefusedAtOnce() throws {
        let folder = "/tmp/pools-\(getpid()).d"
        try #require(mkdir(folder, 0o700) == 0)
        defer {
            for name in ["pipe", "device", "large", "folder"] { unlink("\(folder)/\(name).conf") }
            rmdir("\(folder)/folder.conf")
            rmdir(folder)
        }
        #expect(mkfifo("\(folder)/pipe.conf", 0o600) == 0 && symlink("/dev/zero", "\(folder)/device.conf") == 0)
        #expect(mkdir("\(folder)/folder.conf", 0o700) == 0)
        let large = open("\(folder)/large.conf", O_CREAT | O_WRONLY, 0o600)
        #expect(ftruncate(large, 1 << 30) == 0)
        close(large)
        for (name, said) in [
            ("device", "it is a device"), ("folder", "it is a folder"), ("large", "it is larger than 64 KiB"),
            ("pipe", "it is a pipe"),
        ] {
            let error = #expect(throws: SettingsError.self) {
                try PoolFolder.pools(settings(["FCGI_POOLS_DIR": folder]))
            }
            #expect(error?.problems.first?.hasPrefix("\(folder)/\(name).conf:1: ") == true)
            #expect(error?.problems.first?.contains(said) == true, "\(error?.description ?? "")")
            if name == "folder" { rmdir("\(folder)/folder.conf") } else { unlink("\(folder)/\(name).conf") }
        }
        #expect(try PoolFolder.pools(settings(["FCGI_POOLS_DIR": folder])) == settings().fcgi.pools)
        #expect(throws: SettingsError.self) { try PoolFolder.pools(settings(["FCGI_POOLS_DIR": folder + "/none"])) }
    }

    @Test func theRoutesAreThoseOfTheDescription() throws {
        let file = try #require(fopen("docs/openapi.yaml", "r"))
        defer { fclose(file) }
        var (text, buffer) = ("", [UInt8](repeating: 0, count: 1 << 20))
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
            text += String(decoding: buffer.prefix(count), as: UTF8.self)
        }
        let described = text.split(separator: "\n").compactMap { line -> String? in
            let words = line.split(separator: " ")
            return words.first == "operationId:" ? words.last.map(String.init) : nil
        }
        #expect(described.count > 60)
        // Streams of events are the relay's.
        #expect(Set(described).subtracting(["getEvents"]) == Set(PoolRoute.all.map(\.name)))
    }

    @Test func theMostExactClaimWins() throws {
        let table = PoolTable(
            try pools(
                """
                [sends]
                routes = send
                [noisy]
                routes = messages
                hosts = noisy.example
                [finds]
                routes = search
                """))
        #expect(table.pool(of: .messages).name == "messages" && table.pool(of: .search).name == "finds")
        #expect(table.claims(in: .messages).map(\.pool.name) == ["noisy", "sends"])
        #expect(table.claims(in: .messages)[0].expression == #"^(?:noisy\.example) "#)
        #expect(table.claims(in: .messages)[1].expression == #"^[^ ]* POST ([^ ]*) \1/rooms/[^/?]+/messages/?(?:\?|$)"#)
        #expect(PoolRoute.Family.allCases.filter(table.isChanged) == [.messages, .search])
    }
}
