import ChatCore
import ChatProcess
import Logging

/// One worker, put together: the channel to its master, its endpoints, its loop.
struct ApiWorker {
    let channel: WorkerChannel
    let settings: Settings
    let log: Logger

    init(_ channel: WorkerChannel, _ settings: Settings, _ log: Logger) {
        self.channel = channel
        self.settings = settings
        self.log = log
    }

    func run() throws {
        let api = Api(
            router: router(), scoreboard: channel.scoreboard, log: log, clock: systemClock, slow: settings.fcgi.slowLog)
        let server = try FastCGI(channel)
        channel.ready()
        server.run({ renewAfterEnough(api.answer($0)) }, refused: api.refuse)
    }

    private func router() -> Router {
        var router = Router()
        HealthEndpoints(dependencies: []).add(to: &router)
        return router
    }

    /// The replacement is started first, so asking once is enough; asking again does no harm.
    private func renewAfterEnough(_ response: Response) -> Response {
        let limit = settings.fcgi.pools.first { $0.name == channel.pool }?.maxRequests ?? 0
        if limit > 0, channel.scoreboard[.requests] == limit { channel.renew("\(limit) requests") }
        return response
    }
}
