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
        let arrival = EventCounter()
        let answers = BoundedInbox<Found>(limit: Self.waitingAnswers, onArrival: { arrival.wake() })
        let relayID = UInt64.random(in: 1...UInt64.max)
        let feed = try RedisFeed(url: settings.redisURL, log: log)
        let database = settings.database
        let hub = Hub(
            settings: settings.relay, relayID: relayID, tokens: try JWTTokens(settings.tokens), feed: feed,
            commands: CommandPublisher(settings.rabbitMQ, name: "ws-relay", answers: answers, log: log),
            lookups: CatchUp(redisURL: settings.redisURL, answers: answers, log: log) {
                PostgresRoomHistory(
                    PostgresConnection(
                        url: database.url, applicationName: "ws-relay", statementTimeout: database.statementTimeout))
            },
            ephemerals: Ephemerals(redisURL: settings.redisURL, relayID: relayID, log: log), log: log)
        loop = RelayLoop(
            hub: hub, feed: feed, answers: answers, arrival: arrival, channel: channel, log: log)
    }

    func run() { loop.run() }
}
