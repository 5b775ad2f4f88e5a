/// The keys of a pool's section, read and written.
extension PoolSettings {
    struct Problem: Error { let text: String }

    static let keys = [
        "listen", "listen.owner", "listen.group", "listen.mode", "routes", "hosts", "workers", "workers.min",
        "workers.max", "workers.min_spare", "workers.max_spare", "workers.idle_timeout", "max_requests", "time_limit",
        "memory_limit", "max_wait", "slow_log", "slow_log.after", "access_log", "access_log.format", "user", "group",
        "nice", "rlimit.files", "rlimit.core", "rlimit.memory", "status.path", "ping.path", "ping.response",
    ]

    /// Takes the values of a section. Returns all problems, with file and line.
    mutating func take(_ section: PoolFile.Section, of path: String) -> [String] {
        var problems: [String] = []
        place = "\(path):\(section.line)"
        var lines: [String: Int] = [:]
        var sizing = PoolSizing(self)
        for entry in section.entries {
            lines[entry.key] = entry.line
            do throws(Problem) {
                if try !sizing.take(entry.key, entry.value) { try take(entry.key, entry.value) }
            } catch { problems.append("\(path):\(entry.line): \(entry.key): \(error.text)") }
        }
        guard problems.isEmpty else { return problems }
        for (key, text) in sizing.settle(&self) + contradictions() {
            problems.append("\(path):\(lines[key] ?? section.line): \(lines[key] == nil ? "" : "\(key): ")\(text)")
        }
        return problems
    }

    private mutating func take(_ key: String, _ value: String) throws(Problem) {
        if let name = Self.variable(key) { return try set(name, value) }
        switch key {
        case "listen": listen = value.utf8.first == UInt8(ascii: "/") ? "unix:\(value)" : try Self.some(value)
        case "listen.owner": listenOwner = try Self.some(value)
        case "listen.group": listenGroup = try Self.some(value)
        case "listen.mode":
            guard value.utf8.allSatisfy({ (0x30...0x37).contains($0) }), let mode = Int(value, radix: 8),
                (0...0o777).contains(mode)
            else {
                throw Problem(text: "\"\(value)\" is not a file mode such as 0660")
            }
            guard mode & 0o222 != 0 else {
                throw Problem(text: "with \"\(value)\" no client could connect: add the right to write, as in 0660")
            }
            listenMode = mode
        case "routes": routes = try Self.list(value).map { name throws(Problem) in try Self.route(name) }
        case "hosts": hosts = try Self.list(value).map { name throws(Problem) in try Self.host(name) }
        case "max_requests": maxRequests = try Self.number(value, 0...Int(Int32.max))
        case "time_limit": timeLimit = try Self.time(value, milliseconds: 1000...86_400_000)
        case "memory_limit":
            memoryLimit = try Self.bytes(value, 0...(64 << 30))
            if let problem = Self.problem(ofMemoryLimit: memoryLimit) { throw Problem(text: problem) }
        case "max_wait": maxWait = try Self.time(value, milliseconds: 0...3_600_000).unlessZero
        case "slow_log": slowLog = try Self.path(value)
        case "slow_log.after": slowAfter = try Self.time(value, milliseconds: 100...3_600_000)
        case "access_log": accessLog = try Self.path(value)
        case "access_log.format": accessFormat = try AccessFormat(Self.some(value)).text
        case "user": user = try Self.some(value)
        case "group": group = try Self.some(value)
        case "nice": nice = try Self.number(value, 0...19)
        case "rlimit.files": files = try Self.number(value, 64...1_048_576)
        case "rlimit.core": core = try Self.limit(value)
        case "rlimit.memory": memory = try Self.limit(value, from: 256 << 20)
        case "status.path": statusPath = try Self.address(value)
        case "ping.path": pingPath = try Self.address(value)
        case "ping.response": pingAnswer = try Self.some(value)
        default: throw Problem(text: Self.unknown(key))
        }
    }

    private static func unknown(_ key: String) -> String {
        let best = (keys + PoolSizing.keys).map { ($0, distance(Array($0.utf8), Array(key.utf8))) }
            .min { ($0.1, $0.0) < ($1.1, $1.0) }
        guard let best, best.1 <= 3 else { return "a pool has no such key" }
        return "a pool has no such key; did you mean \(best.0)?"
    }

    /// Problems that only combinations of keys show.
    private func contradictions() -> [(key: String, text: String)] {
        var found: [(String, String)] = []
        if isOwn, !hosts.isEmpty {
            found.append(("hosts", "the pool \(name) serves every host; use one of another name"))
        }
        if !isOwn, routes == nil {
            found.append(
                ("", "the pool \(name) has no routes: nothing would reach it (write `routes =` if you mean that)"))
        }
        if !isOwn, !hosts.isEmpty, routes?.isEmpty != false { found.append(("hosts", "they need routes")) }
        if group != nil, user == nil { found.append(("group", "it needs user")) }
        if let statusPath, let pingPath, areSameBytes(statusPath, pingPath) {
            found.append(("ping.path", "\(pingPath) is the status path"))
        }
        return found
    }

    // MARK: Values

    static func some(_ value: String) throws(Problem) -> String {
        guard !value.isEmpty else { throw Problem(text: "the value is missing") }
        return value
    }

    static func list(_ value: String) throws(Problem) -> [String] {
        let words = value.utf8.split { $0 == UInt8(ascii: ",") || $0 == 0x20 || $0 == 9 }.map { String(Substring($0)) }
        guard Set(words).count == words.count else { throw Problem(text: "it names one of them twice") }
        return words
    }

    private static func route(_ name: String) throws(Problem) -> String {
        guard PoolRoute.byName[name] != nil || PoolRoute.Family(rawValue: name) != nil else {
            throw Problem(text: "there is no route \(name); `fcgi-api routes` lists them")
        }
        return name
    }

    private static func host(_ name: String) throws(Problem) -> String {
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isPlain, name.utf8.count <= 253 else {
            throw Problem(text: "\"\(name)\" is not a host's name in lower case")
        }
        // nginx compares hosts without the final dot.
        if name.utf8.count > 1, name.utf8.last == UInt8(ascii: ".") {
            throw Problem(text: "\"\(name)\": write it without the dot at its end")
        }
        let labels = pieces(of: name, at: UInt8(ascii: "."), omittingEmpty: false)
        guard labels.allSatisfy({ (1...63).contains($0.utf8.count) }) else {
            throw Problem(text: "\"\(name)\" is not a host's name: a part between dots has 1 to 63 characters")
        }
        return name
    }

    static func number(_ value: String, _ range: ClosedRange<Int>) throws(Problem) -> Int {
        guard value.utf8.first != UInt8(ascii: "+"), let number = Int(value), range.contains(number) else {
            throw Problem(
                text: "\"\(value)\" is not a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// `500ms`, `30s`, `5m`, `1h`; a number without a unit is seconds.
    static func time(_ value: String, milliseconds range: ClosedRange<Int>) throws(Problem) -> Duration {
        let units = ["ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "": 1000]
        let digits = value.utf8.prefix { (0x30...0x39).contains($0) }
        let unit = String(Substring(value.utf8.dropFirst(digits.count)))
        guard let scale = units[unit], let number = Int(String(Substring(digits))),
            case let (result, overflows) = number.multipliedReportingOverflow(by: scale), !overflows,
            range.contains(result)
        else {
            let (low, high) = (shown(.milliseconds(range.lowerBound)), shown(.milliseconds(range.upperBound)))
            throw Problem(text: "\"\(value)\" is not a time from \(low) to \(high), such as 500ms, 30s or 5m")
        }
        return .milliseconds(result)
    }

    /// `512K`, `256M`, `1G`, 0.
    static func bytes(_ value: String, _ range: ClosedRange<Int>) throws(Problem) -> Int {
        let units = ["K": 10, "M": 20, "G": 30]
        let digits = value.utf8.prefix { (0x30...0x39).contains($0) }
        let unit = String(Substring(value.utf8.dropFirst(digits.count)))
        if areSameBytes(value, "0"), range.contains(0) { return 0 }
        guard let shift = units[unit], let number = Int(String(Substring(digits))), number <= Int.max >> shift,
            range.contains(number << shift)
        else {
            let (low, high) = (shown(bytes: range.lowerBound), shown(bytes: range.upperBound))
            throw Problem(text: "\"\(value)\" is not a size from \(low) to \(high), such as 512M or 1G")
        }
        return number << shift
    }

    /// Bytes, or `unlimited`, which is the largest number.
    private static func limit(_ value: String, from least: Int = 0) throws(Problem) -> Int {
        areSameBytes(value, "unlimited") ? Int.max : try bytes(value, least...(1 << 50))
    }

    private static func path(_ value: String) throws(Problem) -> String {
        guard value.utf8.first == UInt8(ascii: "/"), value.utf8.last != UInt8(ascii: "/") else {
            throw Problem(text: "\"\(value)\" is not the absolute path of a file")
        }
        return value
    }

    /// An address below the API's prefix, with characters that need no escape in an address or in nginx's files.
    private static func address(_ value: String) throws(Problem) -> String {
        let isPlain = value.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/_-".utf8.contains(byte)
            }
        }
        guard isPlain, value.utf8.first == UInt8(ascii: "/"), (2...100).contains(value.utf8.count),
            value.utf8.last != UInt8(ascii: "/"), value.firstRange(of: "//") == nil
        else { throw Problem(text: "\"\(value)\" is not a path such as /status/search") }
        // In nginx's files the relay's location comes first and takes all addresses that begin with this.
        guard !value.utf8.starts(with: "/events".utf8) else {
            throw Problem(text: "\(value) begins with the address of the events")
        }
        if let taken = PoolRoute.all.first(where: { $0.matches(value) }) {
            throw Problem(text: "\(value) is the address of \(taken.name)")
        }
        return value
    }

    private static func variable(_ key: String) -> String? {
        guard key.utf8.starts(with: "env[".utf8), key.utf8.last == UInt8(ascii: "]") else { return nil }
        return String(Substring(key.utf8.dropFirst(4).dropLast()))
    }

    /// Settings by which processes find each other, or on which existing queues or stored ids depend.
    private static let common: Set = [
        "RUN_DIR", "SOCKET_GROUP", "SOCKET_MODE", "WORKER_HANG_SECONDS", "RABBITMQ_PREFIX", "RABBITMQ_TOTAL_QUEUE",
        "RABBITMQ_HASH_KEY", "RABBITMQ_QUEUE_TYPE", "RABBITMQ_MAX_LENGTH", "USER_NAMESPACE", "STORAGE",
        "S3_BUCKET_NAME", "UPLOAD_LINK_SECRET",
    ]

    /// Sets a variable. It must not be a setting that master and workers have to share.
    private mutating func set(_ name: String, _ value: String) throws(Problem) {
        let isName = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isName, let first = name.utf8.first, first > 0x39, name.utf8.count <= 128 else {
            throw Problem(text: "\"\(name)\" is not the name of a variable")
        }
        let isOurs = ["CHAT_", "FCGI_", "LISTEN_", "NOTIFY_"].contains { name.utf8.starts(with: $0.utf8) }
        guard !isOurs, !Self.common.contains(name) else {
            throw Problem(text: "\(name) is the master's, and the same for all pools")
        }
        environment[name] = value
    }
}

// MARK: - Text

extension PoolSettings {
    private static func shown(_ time: Duration) -> String {
        time == .seconds(time.seconds) ? "\(time.seconds)s" : "\(time.milliseconds)ms"
    }

    private static func shown(bytes: Int) -> String {
        if bytes == Int.max { return "unlimited" }
        if bytes == 0 { return "0" }
        if bytes & ((1 << 30) - 1) == 0 { return "\(bytes >> 30)G" }
        if bytes & ((1 << 20) - 1) == 0 { return "\(bytes >> 20)M" }
        return "\(bytes >> 10)K"
    }

    /// The section with every value in force; reading it gives the same pool. It leaves out the environment, whose
    /// values may be secret.
    public var text: String {
        var lines = ["[\(name)]", "listen = \(PoolFile.written(listen))"]
        func put(_ key: String, _ value: String?) { if let value { lines.append("\(key) = \(value)") } }
        put("listen.owner", listenOwner)
        put("listen.group", listenGroup)
        put("listen.mode", listenMode.map { "0" + String($0, radix: 8) })
        put("routes", routes?.joined(separator: ", "))
        put("hosts", hosts.isEmpty ? nil : hosts.joined(separator: ", "))
        put("workers", isOnDemand ? "ondemand" : workers == maxWorkers ? "static" : "dynamic")
        if !isOnDemand, workers < maxWorkers { put("workers.min", "\(workers)") }
        put("workers.max", "\(maxWorkers)")
        if isOnDemand || workers < maxWorkers {
            if !isOnDemand {
                put("workers.min_spare", "\(minSpare)")
                put("workers.max_spare", "\(maxSpare)")
            }
            put("workers.idle_timeout", Self.shown(idleTimeout))
        }
        put("max_requests", "\(maxRequests)")
        put("time_limit", Self.shown(timeLimit))
        put("memory_limit", Self.shown(bytes: memoryLimit))
        put("max_wait", Self.shown(maxWait ?? .zero))
        put("slow_log", slowLog.map(PoolFile.quoted))
        if let slowAfter, slowAfter >= .milliseconds(100) { put("slow_log.after", Self.shown(slowAfter)) }
        put("access_log", accessLog.map(PoolFile.quoted))
        put("access_log.format", PoolFile.quoted(accessFormat))
        put("user", user.map(PoolFile.quoted))
        put("group", group.map(PoolFile.quoted))
        put("nice", nice.map { "\($0)" })
        put("rlimit.files", files.map { "\($0)" })
        put("rlimit.core", core.map(Self.shown(bytes:)))
        put("rlimit.memory", memory.map(Self.shown(bytes:)))
        put("status.path", statusPath)
        put("ping.path", pingPath)
        put("ping.response", PoolFile.quoted(pingAnswer))
        return lines.joined(separator: "\n") + "\n"
    }

    /// The same for operators: with the names of the environment's variables, and those values that are no secrets.
    public var shown: String {
        // It is unknown which variables of other programs are secrets.
        text
            + environment.sorted { $0.key < $1.key }.map { name, value in
                "env[\(name)] = \(Settings.names.contains(name) ? Settings.shown(name, value) : "***")\n"
            }.joined()
    }

    /// Reads a pool from the ``text`` that another process wrote.
    public init(told text: String, in settings: Settings) throws(SettingsError) {
        let file = PoolFile(path: "CHAT_POOL", Array(text.utf8), isBounded: false)
        guard file.problems.isEmpty, let section = file.sections.first, file.sections.count == 1 else {
            throw SettingsError(problems: file.problems)
        }
        self.init(named: section.name, in: settings)
        // The master may have another version than the worker's program on disk: keys that are unknown here are left
        // out.
        var known = section
        known.entries.removeAll { entry in !(Self.keys + PoolSizing.keys).contains { areSameBytes($0, entry.key) } }
        let problems = take(known, of: file.path)
        guard problems.isEmpty else { throw SettingsError(problems: problems) }
    }
}
