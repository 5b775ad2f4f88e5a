import ChatCore
import ChatProcess
@preconcurrency import Glibc

/// Gives a worker's process the limits and the user of its pool.
enum PoolProcess {
    /// The pool as the master read it: the files may have changed since, or may be invalid by now.
    static let variable = "CHAT_POOL"

    static func pool(of channel: WorkerChannel, _ settings: Settings) throws -> PoolSettings {
        if let pool = try told(settings) { return pool }
        guard let pool = settings.fcgi.pools.first(where: { $0.name == channel.pool }) else {
            throw OperatorError("there is no pool \(channel.pool)")
        }
        return pool
    }

    /// The pool in this process's environment.
    static func told(_ settings: Settings) throws -> PoolSettings? {
        guard let text = getenv(variable) else { return nil }
        defer { unsetenv(variable) }
        return try PoolSettings(told: String(cString: text), in: settings)
    }

    /// Sets the limits first and then the user: only root may raise a limit or change the user.
    ///
    /// - Returns: whether this process has another user now.
    static func become(_ pool: PoolSettings) throws -> Bool {
        try limit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), "rlimit.files", pool.files)
        try limit(__rlimit_resource_t(RLIMIT_CORE.rawValue), "rlimit.core", pool.core)
        try limit(__rlimit_resource_t(RLIMIT_AS.rawValue), "rlimit.memory", pool.memory)
        // Sets the value of this thread; later threads inherit it. Only root may go below the master's value.
        let process = __priority_which_t(PRIO_PROCESS.rawValue)
        if let nice = pool.nice, nice > getpriority(process, 0) {
            guard setpriority(process, 0, Int32(nice)) == 0 else { throw SystemError("set nice") }
        }
        guard let user = pool.user else { return false }
        guard let entry = getpwnam(user) else { throw OperatorError("there is no user \(user)") }
        let (uid, own) = (entry.pointee.pw_uid, entry.pointee.pw_gid)
        guard uid != geteuid() || pool.group != nil else { return false }
        var gid = own
        if let group = pool.group {
            guard let entry = getgrnam(group) else { throw OperatorError("there is no group \(group)") }
            gid = entry.pointee.gr_gid
        }
        guard uid != geteuid() || gid != getegid() else { return false }
        guard initgroups(user, gid) == 0, setgid(gid) == 0, setuid(uid) == 0 else {
            throw SystemError("become the user \(user) of the pool \(pool.name) (only a master that root runs can)")
        }
        return true
    }

    private static func limit(_ resource: __rlimit_resource_t, _ key: String, _ value: Int?) throws {
        guard let value else { return }
        var limit = rlimit()
        getrlimit(resource, &limit)
        let wanted = value == Int.max ? rlim_t.max : rlim_t(value)
        limit.rlim_cur = wanted
        if geteuid() == 0 || wanted < limit.rlim_max { limit.rlim_max = wanted }
        limit.rlim_cur = min(limit.rlim_cur, limit.rlim_max)
        guard setrlimit(resource, &limit) == 0 else { throw SystemError("set \(key)") }
    }
}

extension PoolSettings {
    /// The wait of a request is known only if nginx and the worker read the same clock, on one machine.
    var measuresWait: Bool { listen.utf8.starts(with: "unix:".utf8) }
}
