import ChatAdapters
public import ChatCore
import ChatProcess
import Glibc

/// Checks settings beyond their form, as far as that is possible without a server.
struct SettingsCheck {
    private let settings: Settings
    private let file: String?
    private let pools: [PoolSpec]
    private let folder: RunFolder
    private let isStart: Bool
    private let note: (String) -> Void

    /// - Parameter isStart: only what this program itself uses is checked: another one may be another user's, or on another
    ///   machine. A name that is no setting is only doubtful: an upgrade must not end a service for an old one.
    init(
        _ settings: Settings, file: String?, pools: [PoolSpec], program: String, isStart: Bool,
        note: @escaping (String) -> Void = Self.print
    ) {
        (self.settings, self.file, self.pools, self.isStart, self.note) = (settings, file, pools, isStart, note)
        folder = RunFolder(settings.runDirectory, program: program)
    }

    private func concerns(_ programs: String...) -> Bool { !isStart || programs.contains(folder.program) }

    /// Throws ``SettingsError`` with all problems; doubtful values are noted, on standard error.
    func run() throws {
        var problems: [String] = []
        let database = settings.database
        for (name, url) in [
            ("DATABASE_URL", database.url), ("DATABASE_READ_URL", database.readURL),
            ("DATABASE_DIRECT_URL", database.directURL),
        ] where name == "DATABASE_URL" || url != database.url {
            if let problem = PostgresConnection.problem(in: url) { problems.append("\(name): \(problem)") }
        }
        problems += [socketGroup(), folder.problem(with: pools)].compactMap { $0 }
        problems += settings.unreadableFiles(of: isStart ? folder.program : nil)
        if problems.isEmpty { problems += keys() }
        problems +=
            sharedAddresses() + foreignAddresses() + tooManyWorkers() + databasesOfPools()
            + logsOverFiles()
        if let file, let text = Self.read(file) {
            problems = SettingsError(problems: problems).placed(in: file, text).problems
        }
        let unknown = misspelt()
        if isStart { unknown.forEach(note) } else { problems += unknown }
        guard problems.isEmpty else { throw SettingsError(problems: problems) }
    }

    private func keys() -> [String] {
        var problems: [String] = []
        if concerns("fcgi-api", "ws-relay") {
            do throws(SettingsError) { _ = try JWTTokens(settings.tokens) } catch { problems += error.problems }
        }
        if concerns("queue-worker") {
            do throws(SettingsError) { _ = try PushServices(settings.push, hooks: settings.hooks) } catch {
                problems += error.problems
            }
        }
        return problems
    }

    /// Two pools on one socket would take each other's requests.
    private func sharedAddresses() -> [String] {
        guard concerns("fcgi-api", "ws-relay") else { return [] }
        var names = settings.fcgi.pools.map { (name: "FCGI_\($0.name.uppercased())_LISTEN", address: $0.listen) }
        names.append(("WS_LISTEN", settings.relay.listen))
        var (problems, places): ([String], [SocketPlace]) = ([], [])
        for (name, address) in names {
            let place = SocketPlace(address)
            if let first = places.firstIndex(where: place.collides) {
                problems.append("\(name)=\(address) is the address of \(names[first].name)")
            } else if place.isReserved(in: settings.runDirectory) {
                problems.append("\(name)=\(address) is a file of these programs")
            } else if let problem = PoolFolder.problem(withFile: address, settings, isOwn: isOwn(name)) {
                problems.append("\(name)=\(address): \(problem)")
            }
            places.append(place)
        }
        return problems
    }

    private func isOwn(_ listen: String) -> Bool {
        areSameBytes(folder.program, areSameBytes(listen, "WS_LISTEN") ? "ws-relay" : "fcgi-api")
    }

    private static func title(_ pool: String, _ place: String?) -> String {
        "\(place.map { "\($0): " } ?? "")the pool \(pool)"
    }

    /// TCP addresses that are not this machine's.
    private func foreignAddresses() -> [String] {
        pools.flatMap { pool in
            pool.listen.filter { !$0.isOfThisMachine }.map {
                "\(Self.title(pool.name, pool.place)) cannot listen on \($0): this machine has no such address"
            }
        }
    }

    /// Databases that only the workers of a pool use.
    private func databasesOfPools() -> [String] {
        pools.flatMap { pool -> [String] in
            guard let database = try? settings.with(pool.environment).database else { return [] }
            return [("DATABASE_URL", database.url), ("DATABASE_READ_URL", database.readURL)].compactMap { name, url in
                guard pool.environment[name] != nil, let problem = PostgresConnection.problem(in: url) else {
                    return nil
                }
                return "\(Self.title(pool.name, pool.place)): env[\(name)]: \(problem)"
            }
        }
    }

    /// A log is appended to: it must not be a file that these programs read.
    private func logsOverFiles() -> [String] {
        guard concerns("fcgi-api"), let pools = try? PoolFolder.pools(settings) else { return [] }
        let read = [("the file of settings", file)] + settings.files().map { ("the file of \($0)", $1) }
        return pools.flatMap { pool in
            [("access_log", pool.accessLog), ("slow_log", pool.slowLog)].compactMap { key, path -> String? in
                guard let path,
                    let other = read.first(where: { $1.map { SocketPlace.isOneFile($0, path) } ?? false })
                else { return nil }
                return "\(Self.title(pool.name, pool.place)): \(key): \(path) is \(other.0)"
            }
        }
    }

    /// Each worker has a row in shared memory.
    private func tooManyWorkers() -> [String] {
        let wanted = pools.reduce(0) { $0 + max($1.workers, $1.maxWorkers) }
        guard wanted > Scoreboard.workerRows else { return [] }
        let named = pools.map { pool in
            "\(pool.name) \(max(pool.workers, pool.maxWorkers))" + (pool.place.map { " in \($0)" } ?? "")
        }.joined(separator: ", ")
        return ["\(wanted) workers are too many for one master (\(named)): \(Scoreboard.workerRows) at most"]
    }

    /// Only root and members of a group may give a socket to it.
    private func socketGroup() -> String? {
        // systemd gives its sockets to their group itself.
        guard let group = settings.socketGroup, concerns("fcgi-api", "ws-relay"),
            !isStart || getenv("LISTEN_FDS") == nil
        else { return nil }
        guard let entry = getgrnam(group) else {
            return "SOCKET_GROUP=\(group): there is no such group; make it, or name the group of nginx's user"
        }
        let wanted = entry.pointee.gr_gid
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = max(0, Int(getgroups(Int32(groups.count), &groups)))
        guard geteuid() != 0, getegid() != wanted, !groups.prefix(count).contains(wanted) else { return nil }
        return "SOCKET_GROUP=\(group): this user is not a member: usermod -aG \(group) USER"
    }

    private func misspelt() -> [String] {
        guard let file, let text = Self.read(file) else { return [] }
        var problems: [String] = []
        for unknown in Settings.unknownNames(in: text) {
            let place = "\(file), line \(unknown.line): \(unknown.name) is not a setting"
            if let nearest = unknown.nearest {
                problems.append("\(place); did you mean \(nearest)?")
            } else {
                // Other programs may read the same file.
                note("\(place) of these programs")
            }
        }
        return problems
    }

    private static func print(_ text: String) {
        let line = Array("note: \(text)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    /// Nil: it could not be read, which was reported before.
    static func read(_ path: String) -> [UInt8]? { try? TextFile.read(path) }
}

extension Settings {
    /// Files to be read, by the settings that name them.
    ///
    /// - Parameter program: only what this program uses; nil: all.
    func files(of program: String? = nil) -> [(setting: String, path: String?)] {
        let tokens = [
            ("JWT_JWKS_FILE", self.tokens.jwksFile), ("JWT_JWKS_CA_FILE", self.tokens.keyAuthorities),
        ]
        let push = [
            ("FCM_SERVICE_ACCOUNT_FILE", self.push.accountFile), ("FCM_CA_FILE", self.push.authorities),
            ("APNS_KEY_FILE", self.push.apns?.keyFile), ("APNS_CA_FILE", self.push.apns?.authorities),
        ]
        return [("TLS_CA_FILE", tls.authorities), ("TLS_CERT_FILE", tls.certificate), ("TLS_KEY_FILE", tls.key)]
            + (program == "queue-worker" ? [] : tokens) + (program == nil || program == "queue-worker" ? push : [])
    }

    /// A sentence for each of them that this process cannot read.
    public func unreadableFiles(of program: String? = nil) -> [String] {
        files(of: program).compactMap { name, path in
            guard let path, let problem = TextFile.problem(path) else { return nil }
            return "\(name)=\(path) cannot be read: \(problem)"
        }
    }
}
