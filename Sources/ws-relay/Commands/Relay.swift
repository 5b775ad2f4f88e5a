import ArgumentParser
import CLinux
import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// Builds one worker.
struct Relay {
    private let loop: RelayLoop
    private let exporter: SpanExporter?

    init(_ settings: Settings, _ channel: WorkerChannel) throws {
        // One heap for all threads, so that memory freed by one is reused by the others.
        mallopt(M_ARENA_MAX, 1)
        let log = Logger(label: "ws-relay")
        Self.warn(settings, channel, log)
        let (inherited, salvage) = try Self.legacy(channel, log)
        let relayID = inherited?.relayID ?? salvage?.relayID ?? UInt64.random(in: 1...UInt64.max)
        let row = channel.scoreboard
        exporter = settings.spanExporter("ws-relay", worker: channel.label, log) {
            row.set(Hub.spansExported, to: $0.exported)
            row.set(Hub.spansDropped, to: $0.dropped)
        }
        let outside = try Outside(settings, relayID, RelayTimings(row), log)
        let hub = try outside.makeHub(
            settings, memory: RelayMemory(capacity: settings.relay.maxConnections, file: channel.stateFile),
            tracer: exporter.map { Tracer(settings.tracing.sampler, $0) })
        loop = RelayLoop(
            hub: hub, feed: outside.feed, answers: outside.answers, arrival: outside.arrival,
            commands: outside.commands, markers: outside.ephemerals, place: channel, log: log)
        if let inherited {
            try Successor(inherited, feed: outside.feed, log: log).takeOver(hub)
        } else if let salvage {
            hub.beginTick(milliseconds: monotonicMilliseconds(), unixMilliseconds: systemClock())
            try salvage.takeOver(hub, outside.makeStores().history)
        } else {
            return
        }
        loop.becomeReady()
    }

    private static func warn(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) {
        let files = raiseDescriptorLimit()
        if files < settings.relay.maxConnections + 100 {
            log.warning(
                "WS_MAX_CONNECTIONS exceeds this process's limit of open files",
                metadata: ["connections": "\(settings.relay.maxConnections)", "files": "\(files)"])
        }
        if channel.stateFile == nil {
            log.warning("no file keeper could be started: a crash will close all sockets")
        }
    }

    func run() {
        loop.run()
        exporter?.end()
    }

    /// The state to take over: from a running relay, or from a dead one's file keeper.
    private static func legacy(_ channel: WorkerChannel, _ log: Logger) throws -> (Inherited?, Salvage?) {
        if let line = channel.handover {
            do {
                return (try Inherited(HandoffChannel(line), log: log), nil)
            } catch HandoffChannel.Failure.refused {
                // This relay begins without sockets. Once it is ready, the master asks the predecessor to end, whose
                // clients then reconnect over WS_DRAIN_SECONDS.
                return (nil, nil)
            }
        }
        guard let files = channel.orphanedFiles.map({ KeptFiles($0) }) else { return (nil, nil) }
        if let orphan = files.worker(named: channel.label) {
            do {
                return (try Inherited(HandoffChannel(orphan.openLine()), log: log), nil)
            } catch HandoffChannel.Failure.refused {
                orphan.askToEnd()
                return (nil, nil)
            } catch { orphan.kill() }
        }
        return (nil, Salvage(files, log: log))
    }
}

/// The other threads and connections of a relay.
private struct Outside {
    /// Answers of other threads that the loop has not taken; above this the threads wait.
    private static let waitingAnswers = 100_000
    /// Bytes of frames among them.
    private static let waitingBytes = 8 << 20

    let relayID: UInt64
    let timings: RelayTimings
    let log: Logger
    let arrival = EventCounter()
    let answers: BoundedInbox<Found>
    let feed: any RelayFeed
    let commands: CommandPublisher
    let ephemerals: Ephemerals
    let makeStores: @Sendable () -> RelayStores

    init(_ settings: Settings, _ relayID: UInt64, _ timings: RelayTimings, _ log: Logger) throws {
        (self.relayID, self.timings, self.log) = (relayID, timings, log)
        let (arrival, database) = (arrival, settings.database)
        answers = BoundedInbox<Found>(
            limit: Self.waitingAnswers, weightLimit: Self.waitingBytes, onArrival: { arrival.wake() })
        feed = try makeFeed(url: settings.redisURL, log: log)
        commands = CommandPublisher(
            settings.rabbitMQ, name: "ws-relay", answers: answers, confirms: timings.confirm,
            newestLayout: { PostgresQueueGenerations.lookUp(database) }, log: log)
        ephemerals = try Ephemerals(
            redisURL: settings.redisURL, relayID: relayID, trailLength: settings.traceLength,
            hooks: settings.hooks.families, limits: settings.rates, answers: answers, log: log)
        makeStores = {
            let connection = PostgresConnection(database, applicationName: "ws-relay")
            return (PostgresRoomHistory(connection), PostgresRevocations(connection), PostgresUsers(connection))
        }
    }

    func makeHub(_ settings: Settings, memory: RelayMemory, tracer: Tracer?) throws -> Hub {
        // A token is used once per connection: caching tokens would cost as much as the rest of the connection. The
        // loop of all sockets does not wait for a key set: a client with a new key has to try again.
        let tokens = try JWTTokens(
            settings.tokens,
            sets: KeySet.start(settings.tokens, folder: settings.runDirectory, program: WsRelay.program, log: log),
            keyTimeout: 20, remembered: 0)
        let hub = try Hub(
            settings: settings.relay, relayID: relayID, tokens: tokens, feed: feed, commands: commands,
            lookups: CatchUp(redisURL: settings.redisURL, answers: answers, log: log, makeStores: makeStores),
            ephemerals: ephemerals, memory: memory, timings: timings, tracer: tracer, log: log)
        // Load the revocations before the first socket. Without a store no socket can be opened.
        do { _ = hub.admission.learn(try makeStores().revocations.revocations(since: nil)) } catch {
            log.warning(
                "PostgreSQL cannot be reached yet; trying again when it is needed", metadata: ["error": "\(error)"])
        }
        return hub
    }
}
