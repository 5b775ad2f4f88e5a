import ArgumentParser
import ChatCommands
import ChatCore
import ChatProcess
import Logging

struct FcgiApi: ParsableCommand, MasterProgram {
    static let program = "fcgi-api"
    static let mainPool: String? = nil
    static let counters = ApiCounter.names
    static let histograms = ApiTimings.names

    static let configuration = CommandConfiguration(
        commandName: program,
        abstract: "The chat service's REST API, behind nginx (FastCGI).",
        discussion: """
            Settings come from the environment and from a .env file (-c); .env.example lists them.

            Signals to the running master: TERM ends gracefully, QUIT at once, HUP reads the settings again and \
            replaces the workers, USR2 does the same with the binary on disk, TTIN and TTOU add and remove a worker.
            """,
        version: chatVersion,
        subcommands: [
            ServeCommand<FcgiApi>.self, WorkerCommand<FcgiApi>.self, PoolTrialCommand.self, Migrate.self,
            TokenCommand.self, KeysCommand.self, PushCommand.self,
            StatusCommand<FcgiApi>.self, ScaleCommand<FcgiApi>.self, TraceCommand.self,
            EpochCommand.self, NginxConfigCommand.self, RoutesCommand.self,
            ExportCommand.self, ImportCommand.self,
            Setup.self, SetupCheck.self,
        ])

    static func announce(_ settings: Settings, _ log: Logger) {
        if settings.web.publicURL.isEmpty {
            log.notice("PUBLIC_URL is not set: links in frames are paths of the origin that a client uses")
        } else if settings.web.isLoopback {
            log.warning(
                "PUBLIC_URL is an address of this machine: nobody else can follow links that begin with it",
                metadata: ["PUBLIC_URL": "\(settings.web.publicURL)"])
        }
    }

    static func pools(_ settings: Settings) throws -> [PoolSpec] {
        let pools = try PoolFolder.pools(settings)
        return try pools.map { pool in
            // A worker that cannot read it would end, and so would the next one.
            _ = try PoolSettings(told: pool.text, in: settings)
            return PoolSpec(
                name: pool.name, place: pool.place, workers: pool.workers, maxWorkers: pool.maxWorkers,
                listen: [try address(of: pool, settings)], timeLimit: pool.timeLimit,
                hangLimit: settings.hangLimit, waits: true,
                memoryLimit: pool.memoryLimit == 0 ? nil : pool.memoryLimit, isOnDemand: pool.isOnDemand,
                minSpare: pool.minSpare, maxSpare: pool.maxSpare, shrinkAfter: pool.idleTimeout,
                slowAfter: pool.slowLog == nil
                    ? nil : max(.milliseconds(100), pool.slowAfter ?? .seconds(1)),
                environment: pool.environment.merging([PoolProcess.variable: pool.text]) { _, ours in ours })
        }
    }

    private static func address(of pool: PoolSettings, _ settings: Settings) throws -> ListenAddress {
        do {
            return try ListenAddress(
                parsing: pool.listen, mode: UInt32(pool.listenMode ?? settings.socketMode),
                group: pool.listenGroup ?? settings.socketGroup, owner: pool.listenOwner)
        } catch {
            guard let place = pool.place else { throw error }
            throw OperatorError("\(place): [\(pool.name)] listen: \(error)")
        }
    }

    static func problems(_ settings: Settings, _ arguments: [String]) throws -> [String] {
        try settings.storage.unusableFolders()
            + PoolTrial.problems(of: PoolFolder.pools(settings), settings, arguments)
    }

    static func work(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws {
        let pool = try PoolProcess.pool(of: channel, settings)
        let logs = PoolLogs(pool, log)
        if try PoolProcess.become(pool) { try channel.followAgain() }
        logs.catchSlow(channel)
        try ApiWorker(channel, settings, pool, logs, log).run()
    }

    static func inForce(_ settings: Settings) throws -> String {
        guard settings.fcgi.poolsFolder != nil else { return "" }
        return try PoolFolder.pools(settings).map { pool in
            "\n# \(pool.place ?? "by the settings alone")\n\(pool.shown)"
        }.joined() + "\n"
    }
}

/// The program's own counters, by their position in the scoreboard.
enum ApiCounter: Int, CaseIterable {
    case queued, spansExported, spansDropped, shed, changesUntold, replicaReads, primaryReads, replicaLag

    static var names: [String] {
        allCases.map {
            switch $0 {
            case .queued: "queued_answers_total"
            case .spansExported: "spans_exported_total"
            case .spansDropped: "spans_dropped_total"
            case .shed: "shed_total"
            case .changesUntold: "user_updates_untold_total"
            case .replicaReads: "replica_reads_total"
            case .primaryReads: "replica_spared_total"
            case .replicaLag: "replica_lag_seconds"
            }
        }
    }
}
