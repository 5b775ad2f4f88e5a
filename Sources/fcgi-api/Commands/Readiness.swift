import ChatAdapters
import ChatCore

/// The checks behind `/readyz`: each server, and a sign of life of each of our programs.
struct Readiness {
    /// How long the answer to a command may take.
    private static let answerTimeout = Duration.seconds(3)
    /// A relay without a beat for longer counts as hanging.
    private static let beatLimit = Duration.seconds(8)

    let readers: Readers
    let commands: RabbitMQCommandQueue
    let redis: RedisConnection

    var servers: [(name: String, check: () throws -> String?)] {
        [
            (
                "postgresql",
                {
                    try readers.check()
                    return nil
                }
            ),
            (
                "rabbitmq",
                {
                    try commands.check()
                    return nil
                }
            ),
            (
                "redis",
                {
                    _ = try redis.everywhere([RedisWord(word: "PING")])
                    return nil
                }
            ),
        ]
    }

    var programs: [(name: String, check: () throws -> String?)] {
        [("queue-worker", askQueueWorker), ("ws-relay", askRelays)]
    }

    func helpers(files: any ObjectStore) -> [(name: String, without: String, check: () throws -> String?)] {
        var all: [(name: String, without: String, check: () throws -> String?)] = [
            (
                "file store", "messages go on, files have to wait",
                {
                    try files.check()
                    return nil
                }
            )
        ]
        if let check = readers.replicaCheck { all.append(("read replica", "the primary reads in its place", check)) }
        return all
    }

    /// Sends a command that is refused: it passes a queue, a queue-worker and PostgreSQL, and its answer comes back.
    private func askQueueWorker() throws -> String? {
        // Without consumers there is nothing to wait for.
        guard try commands.hasWorkers() else { throw NotReady(reason: "no worker consumes commands") }
        let answer: CommandAnswer
        do { answer = try commands.submit(.probe(systemClock()), timeout: Self.answerTimeout) } catch {
            throw NotReady(reason: error.code == .busy ? "its queue is full" : "its queue cannot be reached")
        }
        guard case .answered = answer else {
            throw NotReady(reason: "a command was not answered within \(Self.answerTimeout.seconds) s")
        }
        return nil
    }

    /// A hanging relay keeps its subscription for a long time, but its beats stop at once.
    private func askRelays() throws -> String? {
        let prefix = BusChannel.relay(0).dropLast()
        let kind = redis.isCluster ? "SHARDCHANNELS" : "CHANNELS"
        let words = ["PUBSUB", kind, "\(prefix)*"].map { RedisWord(word: $0) }
        let answers: [RedisValue]
        // A Redis user without permission gets no answer here; the check is skipped then.
        do { answers = try redis.everywhere(words) } catch {
            if error.isConnection { throw error }
            return nil
        }
        let relays = answers.flatMap { $0.array ?? [] }.compactMap { channel in
            channel.bytes.flatMap { UInt64(String(decoding: $0.dropFirst(prefix.utf8.count), as: UTF8.self)) }
        }
        guard !relays.isEmpty else { throw NotReady(reason: "no relay is subscribed to Redis") }
        let lives = try redis.pipeline(relays.map { ["PTTL", RedisKey.beat($0)].map { RedisWord(word: $0) } })
        let still = lives.count { value in
            // Negative: there is no beat. Relays of older releases have none.
            guard case .int(let left) = value, left >= 0 else { return false }
            return RedisKey.beatLifetime.milliseconds - left > Self.beatLimit.milliseconds
        }
        guard still > 0 else { return nil }
        guard still < relays.count else {
            throw NotReady(reason: "no relay has shown a sign of life for \(Self.beatLimit.seconds) s")
        }
        return "\(still) of \(relays.count) hang"
    }
}
