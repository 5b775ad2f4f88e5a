import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

/// Tries to use everything that the workers of a pool need, as their user and within their limits: root may read files
/// that they cannot.
enum PoolTrial {
    /// The beginning of a line from the trial process. The rest is the end of a sentence.
    static let refused = "refused: "
    /// The same for a database without a connection. The calling process then checks whether a server answers at all.
    static let silent = "silent: "

    /// A sentence for each problem, with the place of its pool. A database that does not run is no problem: it may
    /// start later.
    ///
    /// - Parameter arguments: those that pass the settings to a process of this program.
    static func problems(
        of pools: [PoolSettings], _ settings: Settings, _ arguments: [String]
    ) throws -> [String] {
        let tried = pools.filter { $0.user != nil || $0.files != nil || $0.core != nil || $0.memory != nil }
        guard !tried.isEmpty else { return [] }
        guard let program = pathOfThisProgram() else { throw OperatorError("/proc is not mounted: mount it") }
        return try tried.flatMap { pool in
            let variables = pool.environment.merging([PoolProcess.variable: pool.text]) { _, own in own }
            guard
                let ending = OtherProgram.run(
                    [program, PoolTrialCommand.name] + arguments, environment: inheritedEnvironment(before: variables))
            else { throw OperatorError("\(program) could not be started") }
            let place = pool.place.map { "\($0): " } ?? ""
            return try sentences(ending, pool, settings).map { "\(place)[\(pool.name)] \($0)" }
        }
    }

    private static func sentences(
        _ ending: OtherProgram.Ending, _ pool: PoolSettings, _ settings: Settings
    ) throws -> [String] {
        guard ending.isGood else { return ["a worker would not start: \(ending.lastLine)"] }
        let worker = pool.user.map { "user: \($0)" } ?? "a worker"
        let url = try settings.with(pool.environment).database.url
        return ending.text.split(separator: "\n").compactMap { line in
            if line.hasPrefix(refused) { return "\(worker) \(line.dropFirst(refused.count))" }
            guard line.hasPrefix(silent), PostgresConnection.answers(url) else { return nil }
            return "\(worker) \(line.dropFirst(silent.count))"
        }
    }
}

/// Started by `-t`, with the pool in the environment, as for a worker.
struct PoolTrialCommand: ParsableCommand {
    static let name = "pool-trial"
    static let configuration = CommandConfiguration(
        commandName: name, abstract: "Started by serve -t.", shouldDisplay: false)

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let settings = try settings.read()
        guard let pool = try PoolProcess.told(settings) else { throw OperatorError("serve -t starts this") }
        _ = try PoolProcess.become(pool)
        for problem in settings.unreadableFiles(of: FcgiApi.program) {
            print(PoolTrial.refused + "cannot use a setting: " + problem)
        }
        for problem in unusableFolders(of: pool, settings) { print(PoolTrial.refused + "may not use " + problem) }
        for path in shared(settings, pool) where access(path, R_OK | W_OK) != 0 {
            print("\(PoolTrial.refused)may not use \(path): \(String(cString: strerror(errno)))")
        }
        tryDatabase(settings)
    }

    /// The folders in which its endpoints write.
    private func unusableFolders(of pool: PoolSettings, _ settings: Settings) -> [String] {
        pool.families?.contains(.uploads) != false ? settings.storage.unusableFolders() : []
    }

    /// The folder in which workers share fetched key sets, and sockets of Redis and clamd.
    private func shared(_ settings: Settings, _ pool: PoolSettings) -> [String] {
        var paths = settings.tokens.keySources.isEmpty ? [] : [settings.runDirectory]
        if let clamd = settings.storage.clamd, clamd.utf8.starts(with: "unix:".utf8),
            pool.families?.contains(.uploads) != false
        {
            paths.append(String(clamd.dropFirst(5)))
        }
        if case .socket(let path)? = try? RedisServers(settings.redisURL).way,
            access(path, F_OK) == 0 || errno != ENOENT
        {
            paths.append(path)
        }
        return paths
    }

    private func tryDatabase(_ settings: Settings) {
        let connection = PostgresConnection(settings.database, applicationName: "fcgi-api -t")
        do { _ = try connection.query("SELECT 1::int8") } catch {
            print("\(error.state == nil ? PoolTrial.silent : PoolTrial.refused)cannot use PostgreSQL: \(error.message)")
        }
    }
}
