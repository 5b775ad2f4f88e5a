import CLinux
@preconcurrency import Glibc

/// Starts a new process of a program. Swift's runtime does not survive a fork after its first await, so it uses
/// posix_spawn.
struct Spawn {
    let path: String
    /// Including argv[0].
    let arguments: [String]
    /// "NAME=value".
    let environment: [String]
    /// Descriptor in this process → number in the new one. Sources are at `Descriptor.firstHigh` or above; all others
    /// are closed by their close-on-exec flag.
    let descriptors: [(source: Int32, target: Int32)]

    /// The new process has no signal blocked and every handler at its default.
    func start() throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (source, target) in descriptors {
            posix_spawn_file_actions_adddup2(&actions, source, target)
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var pid: pid_t = 0
        let code = withCStrings(arguments) { arguments in
            withCStrings(environment) { posix_spawn(&pid, path, &actions, &attributes, arguments, $0) }
        }
        guard code == 0 else { throw SystemError("start \(path)", code: code) }
        return pid
    }
}

/// Calls `body` with a null-terminated list of C strings, for `exec` and `posix_spawn`.
func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers = strings.map { strdup($0) } + [nil]
    defer { pointers.forEach { free($0) } }
    return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
}

/// The environment for a child, without the variables that are only for the master.
///
/// - Parameters:
///   - own: the child's own variables, which take the place of inherited ones.
///   - entries: "NAME=value", of this process.
public func inheritedEnvironment(
    before own: [String: String] = [:], of entries: [String] = environmentEntries()
) -> [String] {
    let ours = [
        "NOTIFY_SOCKET=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "CHAT_MASTER_STATE=",
        "CHAT_WORKER=",
    ]
    var result = own.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }
    for entry in entries {
        let name = entry.utf8.prefix { $0 != UInt8(ascii: "=") }
        if !ours.contains(where: entry.hasPrefix), own[String(Substring(name))] == nil { result.append(entry) }
    }
    // Swift's own crash backtrace takes seconds of a whole CPU, during which the worker is not replaced.
    // ``CrashReport`` has written the stack by then; an operator can turn the backtrace on by setting the variable.
    let backtrace = "SWIFT_BACKTRACE="
    if !result.contains(where: { $0.hasPrefix(backtrace) }) { result.append(backtrace + "enable=no") }
    return result
}

/// "NAME=value" for each variable of this process.
public func environmentEntries() -> [String] {
    var entries: [String] = []
    var next: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = Glibc.environ
    while let entry = next.pointee {
        entries.append(String(cString: entry))
        next += 1
    }
    return entries
}

/// The path of this program as it was called: symbolic links stay unresolved, so that an upgrade may change one.
/// `/proc/self/exe` would show the replaced file as "(deleted)".
func programPath(_ argument: String = CommandLine.arguments[0]) -> String {
    if argument.hasPrefix("/") { return argument }
    if argument.contains("/") {
        guard let folder = getcwd(nil, 0) else { return argument }
        defer { free(folder) }
        return String(cString: folder) + "/" + argument
    }
    for folder in (environment("PATH") ?? "").split(separator: ":")
    where access("\(folder)/\(argument)", X_OK) == 0 {
        return "\(folder)/\(argument)"
    }
    return "/proc/self/exe"
}
