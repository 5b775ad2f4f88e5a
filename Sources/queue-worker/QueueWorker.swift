import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Logging

@main
struct QueueWorker: ParsableCommand, MasterProgram {
    static let program = "queue-worker"
    static let mainPool: String? = "queues"
    static let counters = Counter.names
    static let histograms = Timing.names

    static let configuration = CommandConfiguration(
        commandName: program,
        abstract: "Executes the commands of every room in order, as the rooms' only writer.",
        version: chatVersion,
        subcommands: [
            ServeCommand<QueueWorker>.self, WorkerCommand<QueueWorker>.self, StatusCommand<QueueWorker>.self,
            ScaleCommand<QueueWorker>.self, Dead.self, Queues.self, Hooks.self,
        ])

    static func main() { runProgram() }

    static func pools(_ settings: Settings) -> [PoolSpec] {
        let frozenLimit = settings.worker.frozenLimit
        // With the broker a worker is ready only once it consumes, which may be long after its start: the broker may be
        // down.
        func pool(_ name: String, _ workers: Int = 1, startLimit: Duration = .seconds(30)) -> PoolSpec {
            PoolSpec(
                name: name, workers: workers, startLimit: startLimit, frozenLimit: frozenLimit,
                hangLimit: settings.hangLimit, waits: true)
        }
        var pools = [pool("queues", settings.worker.processes, startLimit: .seconds(86_400))]
        if settings.storage.isSet { pools.append(pool(FilesWorker.pool)) }
        if !settings.hooks.url.isEmpty { pools.append(pool(HookWorker.pool)) }
        if settings.retention.isOn { pools.append(pool(RetentionWorker.pool)) }
        if settings.push.isOn { pools.append(pool("push", settings.push.processes, startLimit: .seconds(86_400))) }
        return pools
    }

    static func problems(_ settings: Settings, _ arguments: [String]) -> [String] {
        settings.storage.unusableFolders()
    }

    static func announce(_ settings: Settings, _ log: Logger) {
        if !settings.push.isOn {
            log.notice("push notifications are off: no push service is set")
        }
    }
}

extension QueueWorker {
    static func work(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws {
        switch channel.pool {
        case FilesWorker.pool: try FilesWorker(settings, channel, log).serve()
        case HookWorker.pool:
            try HookWorker(settings, connection(settings, "queue-worker hooks"), channel, log).serve()
        case RetentionWorker.pool:
            RetentionWorker(settings, connection(settings, "queue-worker retention"), channel, log).serve()
        case "push": try pushWorker(settings, channel, log).serve()
        default: try serveQueues(settings, channel, log)
        }
    }

    private static func connection(_ settings: Settings, _ name: String) -> PostgresConnection {
        PostgresConnection(settings.database, applicationName: name)
    }

    private static func serveQueues(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws {
        let row = channel.scoreboard
        let exporter = settings.spanExporter(QueueWorker.program, worker: channel.label, log) {
            row.set(Counter.spansExported, to: $0.exported)
            row.set(Counter.spansDropped, to: $0.dropped)
        }
        let trace = exporter.map { CommandTrace(tracer: Tracer(settings.tracing.sampler, $0)) }
        try queueWorker(settings, channel, trace, log).serve()
        exporter?.end()
    }

    private static func queueWorker(
        _ settings: Settings, _ channel: WorkerChannel, _ trace: CommandTrace?, _ log: Logger
    ) throws -> Consumer {
        let queues = PostgresConnection(
            settings.database, applicationName: "queue-worker queues",
            statementTimeout: PostgresQueueGenerations.timeout)
        let store = PostgresRoomBatchStore(
            PostgresConnection(
                settings.database, applicationName: "queue-worker", transactionPause: .seconds(3), watch: queues),
            limits: settings.rooms, hooks: settings.hooks.families,
            hasReplica: settings.database.hasReplica)
        let check = settings.hooks.checkURL.isEmpty ? nil : HTTPMessageCheck(settings.hooks, log: log)
        let bus = RedisFrameBus(
            try RedisConnection(url: settings.redisURL), logLength: settings.worker.logLength,
            logTime: settings.worker.logTime, logBytes: settings.worker.logBytes,
            trailLength: settings.traceLength, markLifetime: settings.database.markLifetime)
        return Consumer(
            settings: settings, channel: channel, broker: RabbitMQBroker(settings.rabbitMQ),
            run: ExecuteBatch(store: store, check: check, limits: settings.rooms, clock: systemClock, log: log),
            bus: bus,
            generations: PostgresQueueGenerations(queues), workers: PostgresQueueWorkers(queues),
            host: HostName.own(settings), trace: trace, log: log)
    }

    private static func pushWorker(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws -> PushConsumer
    {
        let audience = PostgresPushAudience(
            connection(settings, "queue-worker push"), kinds: settings.push.kinds)
        let marks = RedisPushMarks(
            try RedisConnection(url: settings.redisURL), trailLength: settings.traceLength)
        let goesOn = {
            channel.scoreboard.heartbeat()
            return !channel.mustQuit
        }
        let sender = try PushServices(settings.push, hooks: settings.hooks, goesOn: goesOn)
        let told = tellPushes(settings, log)
        return PushConsumer(
            settings: settings, channel: channel, broker: RabbitMQBroker(settings.rabbitMQ), log: log
        ) { pause in
            PushOffline(
                audience: audience, marks: marks, sender: sender, clock: systemClock, log: log, pause: pause,
                goesOn: goesOn, told: told)
        }
    }

    /// Stores an event about each push, where the host wants to hear of them. Best effort: a push is not sent again
    /// because its event was not stored.
    private static func tellPushes(_ settings: Settings, _ log: Logger) -> (Push, PushDevice, String?) -> Void {
        guard settings.hooks.families.contains(.push) else { return { _, _, _ in } }
        let outbox = PostgresHookOutbox(connection(settings, "queue-worker push hooks"))
        return { push, device, failure in
            let now = systemClock()
            guard let event = HookEvent.push(push, to: device, failure: failure, id: .v7(at: now), at: now) else {
                return
            }
            do throws(StoreError) { try outbox.add([event]) } catch {
                log.warning("the event of a push was not stored", metadata: ["error": "\(error)"])
            }
        }
    }
}
