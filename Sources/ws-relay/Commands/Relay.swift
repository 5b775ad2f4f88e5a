import ArgumentParser
import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// One worker, put together.
struct Relay {
    /// Answers of the threads that the loop has not taken; past it the threads wait.
    private static let waitingAnswers = 100_000

    private let loop: RelayLoop

    init(_ settings: Settings, _ channel: WorkerChannel) throws {
        let log = Logger(label: "ws-relay")
        let files = raiseDescriptorLimit()
        if files < settings.relay.maxConnections + 100 {
            log.warning(
                "WS_MAX_CONNECTIONS is more than this process may open files",
                metadata: ["connections": "\(settings.relay.maxConnections)", "files": "\(files)"])
        }
        let arrival = EventCounter()
        let answers = BoundedInbox<Found>(limit: Self.waitingAnswers, onArrival: { arrival.wake() })
        let inherited = channel.handover.map(HandoffChannel.init).flatMap { line in
            Successor.relayID(line, log: log).map { (line: line, id: $0.id, channels: $0.channels) }
        }
        let relayID = inherited?.id ?? UInt64.random(in: 1...UInt64.max)
        let feed = try RedisFeed(url: settings.redisURL, log: log)
        let database = settings.database
        let commands = CommandPublisher(settings.rabbitMQ, name: "ws-relay", answers: answers, log: log)
        let ephemerals = Ephemerals(redisURL: settings.redisURL, relayID: relayID, log: log)
        let hub = Hub(
            settings: settings.relay, relayID: relayID, tokens: try JWTTokens(settings.tokens), feed: feed,
            commands: commands,
            lookups: CatchUp(redisURL: settings.redisURL, answers: answers, log: log) {
                PostgresRoomHistory(
                    PostgresConnection(
                        url: database.url, applicationName: "ws-relay", statementTimeout: database.statementTimeout))
            },
            ephemerals: ephemerals, log: log)
        loop = RelayLoop(
            hub: hub, feed: feed, answers: answers, arrival: arrival, commands: commands, ephemerals: ephemerals,
            channel: channel, log: log)
        guard let inherited else { return }
        let successor = Successor(channel: inherited.line, feed: feed, log: log)
        guard successor.takeOver(hub, channels: inherited.channels) else { throw ExitCode.failure }
        loop.becomeReady()
    }

    func run() { loop.run() }
}
