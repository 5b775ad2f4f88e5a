import Glibc

/// The pools in force: the five of the settings, which the files of a folder change, and the pools that the files add.
public enum PoolFolder {
    /// - Throws: every problem of the files, each with its file and line.
    public static func pools(_ settings: Settings) throws(SettingsError) -> [PoolSettings] {
        guard let folder = settings.fcgi.poolsFolder else { return settings.fcgi.pools }
        var problems: [String] = []
        var files: [PoolFile] = []
        do throws(SettingsError) {
            for path in try paths(in: folder, isNeeded: settings.fcgi.isPoolsFolderGiven) {
                files.append(PoolFile(path: path, try read(path)))
            }
        } catch { problems += error.problems }
        return try pools(files, settings, problems)
    }

    /// - Parameter problems: those that were found before.
    static func pools(
        _ files: [PoolFile], _ settings: Settings, _ problems: [String] = []
    ) throws(SettingsError) -> [PoolSettings] {
        var (pools, problems) = (settings.fcgi.pools, problems)
        for file in files {
            problems += file.problems
            for section in file.sections {
                let index = pools.firstIndex { areSameBytes($0.name, section.name) }
                if let index, let other = pools[index].place {
                    if !other.hasPrefix(file.path + ":") {
                        problems.append("\(file.path):\(section.line): the pool \(section.name) is already in \(other)")
                    }
                    continue
                }
                var pool = index.map { pools[$0] } ?? PoolSettings(named: section.name, in: settings)
                problems += pool.take(section, of: file.path)
                if let index { pools[index] = pool } else { pools.append(pool) }
            }
        }
        if pools.count > PoolFile.Limit.pools {
            problems.append("\(pools.count) pools are too many: \(PoolFile.Limit.pools) at most")
        }
        if problems.isEmpty { problems = conflicts(among: pools, files, settings) }
        guard problems.isEmpty else { throw SettingsError(problems: problems) }
        return pools
    }

    // MARK: Files

    /// The files whose names end in `.conf`, sorted by name. Others, such as an editor's backups, are ignored.
    private static func paths(in folder: String, isNeeded: Bool) throws(SettingsError) -> [String] {
        guard let directory = opendir(folder) else {
            if errno == ENOENT, !isNeeded { return [] }
            throw SettingsError(
                problems: ["FCGI_POOLS_DIR=\(folder) cannot be read: \(String(cString: strerror(errno)))"])
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.utf8.first != UInt8(ascii: "."), Array(name.utf8).suffix(5) == Array(".conf".utf8)[...] {
                names.append(name)
            }
        }
        guard names.count <= PoolFile.Limit.files else {
            throw SettingsError(
                problems: ["\(folder) has \(names.count) files of pools, at most \(PoolFile.Limit.files) are read"])
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { "\(folder)/\($0)" }
    }

    private static func read(_ path: String) throws(SettingsError) -> [UInt8] {
        do throws(TextFile.Problem) { return try TextFile.read(path, atMost: PoolFile.Limit.fileBytes) } catch {
            throw SettingsError(problems: ["\(path):1: it cannot be read: \(error)"])
        }
    }

    // MARK: Conflicts between pools

    private static func conflicts(among pools: [PoolSettings], _ files: [PoolFile], _ settings: Settings) -> [String] {
        var problems: [String] = []
        /// The line of a key, or of the section.
        func at(_ pool: PoolSettings, _ key: String) -> String {
            for file in files {
                for section in file.sections where areSameBytes(section.name, pool.name) {
                    let entry = section.entries.first { areSameBytes($0.key, key) }
                    return "\(file.path):\(entry?.line ?? section.line): \(entry == nil ? "" : "\(key): ")"
                }
            }
            return ""
        }
        var listens = [(place: SocketPlace(settings.relay.listen), name: "ws-relay")]
        var claims: [String: String] = [:]
        var paths: [String: String] = [:]
        for pool in pools.filter({ $0.place == nil }) + pools.filter({ $0.place != nil }) {
            let place = SocketPlace(pool.listen)
            if pool.place != nil, let problem = problem(with: pool.listen, place, listens, settings) {
                problems.append("\(at(pool, "listen"))\(problem)")
            }
            listens.append((place, pool.name))
            problems += wrongVariables(of: pool, settings).map { "\(at(pool, $0.key))\($0.text)" }
            for route in pool.routes ?? [] {
                for host in pool.hosts.isEmpty ? [""] : pool.hosts {
                    guard let other = claims.updateValue(pool.name, forKey: "\(route) \(host)") else { continue }
                    problems.append("\(at(pool, "routes"))the pool \(other) has the route \(route) already")
                }
            }
            for (key, path) in [("status.path", pool.statusPath), ("ping.path", pool.pingPath)] {
                guard let path, let other = paths.updateValue(pool.name, forKey: path) else { continue }
                problems.append("\(at(pool, key))\(path) is already a path of the pool \(other)")
            }
            problems += (wrongAccounts(of: pool) + wrongLogs(of: pool, files, settings)).map {
                "\(at(pool, $0.key))\($0.text)"
            }
        }
        return problems
    }

    private static func wrongAccounts(of pool: PoolSettings) -> [(key: String, text: String)] {
        [
            ("listen.owner", pool.listenOwner, false), ("listen.group", pool.listenGroup, true),
            ("user", pool.user, false), ("group", pool.group, true),
        ].compactMap { key, name, isGroup in
            name.flatMap { SystemAccount.problem($0, isGroup: isGroup, changesProcess: !key.contains(".")) }
                .map { (key, $0) }
        }
    }

    private static func wrongLogs(
        of pool: PoolSettings, _ files: [PoolFile], _ settings: Settings
    ) -> [(key: String, text: String)] {
        var wrong: [(key: String, text: String)] = []
        for (key, path) in [("slow_log", pool.slowLog), ("access_log", pool.accessLog)] {
            guard let path, let end = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { continue }
            let place = SocketPlace("unix:\(path)")
            if place.isReserved(in: settings.runDirectory) {
                wrong.append((key, "\(path) is a file of these programs"))
                continue
            }
            if files.contains(where: { SocketPlace.isOneFile($0.path, path) }) {
                wrong.append((key, "\(path) is a file of pools"))
                continue
            }
            let folder = end == path.startIndex ? "/" : String(path[..<end])
            var status = stat()
            guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                wrong.append((key, "there is no folder \(folder)"))
                continue
            }
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
            wrong.append((key, "\(path) is a folder"))
        }
        return wrong
    }

    private static func problem(
        with listen: String, _ place: SocketPlace, _ others: [(place: SocketPlace, name: String)], _ settings: Settings
    ) -> String? {
        if let other = others.first(where: { $0.place.collides(with: place) }) {
            return "\(listen) is the address of \(other.name)"
        }
        if place.isReserved(in: settings.runDirectory) { return "\(listen) is a file of these programs" }
        return problem(withFile: listen, settings)
    }

    /// A sentence if this process could not make the socket; nil if it could.
    ///
    /// - Parameter isOwn: false: another program makes it, perhaps as another user or on another machine.
    public static func problem(withFile listen: String, _ settings: Settings, isOwn: Bool = true) -> String? {
        let path = Substring(listen.utf8.dropFirst(5))
        guard case .file = SocketPlace(listen), let end = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        var status = stat()
        // An existing socket may be systemd's.
        if lstat(String(path), &status) == 0 {
            return status.st_mode & S_IFMT == S_IFSOCK ? nil : "\(path) exists and is not a socket"
        }
        guard isOwn else { return nil }
        // The programs make RUN_DIR themselves.
        let folder = String(path[..<end])
        guard !folder.isEmpty, SocketPlace("unix:\(settings.runDirectory)/x") != SocketPlace("unix:\(folder)/x") else {
            return nil
        }
        guard stat(folder, &status) == 0 else {
            return errno == ENOTDIR ? "\(folder) is not a folder" : "there is no folder \(folder)"
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "\(folder) is not a folder" }
        return access(folder, W_OK | X_OK) == 0 ? nil : "this user may not make a socket in \(folder)"
    }

    /// The settings as the pool's workers will read them.
    private static func wrongVariables(of pool: PoolSettings, _ settings: Settings) -> [(key: String, text: String)] {
        guard !pool.environment.isEmpty else { return [] }
        do throws(SettingsError) {
            _ = try settings.with(pool.environment)
            return []
        } catch {
            return error.problems.map { problem in
                let names = pool.environment.keys.filter { problem.utf8.starts(with: $0.utf8) }
                return ("env[\(names.max { $0.utf8.count < $1.utf8.count } ?? "")]", problem)
            }
        }
    }
}

/// Users and groups of this machine.
enum SystemAccount {
    /// - Parameter changesProcess: a worker becomes this user or of this group; otherwise a socket is given to it.
    static func problem(_ name: String, isGroup: Bool, changesProcess: Bool) -> String? {
        let id: UInt32
        if isGroup {
            guard let entry = getgrnam(name) else { return "there is no group \(name)" }
            id = entry.pointee.gr_gid
        } else {
            guard let entry = getpwnam(name) else { return "there is no user \(name)" }
            id = entry.pointee.pw_uid
        }
        if geteuid() == 0 { return nil }
        if changesProcess {
            return id == (isGroup ? getegid() : geteuid()) ? nil : "only a master that root runs can change it"
        }
        guard isGroup else { return id == geteuid() ? nil : "only a master that root runs can give the socket away" }
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = max(0, Int(getgroups(Int32(groups.count), &groups)))
        return getegid() == id || groups.prefix(count).contains(id)
            ? nil : "this user is no member of the group \(name)"
    }
}
