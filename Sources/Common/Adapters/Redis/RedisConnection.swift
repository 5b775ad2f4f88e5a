import ChatCore

/// One connection, for one thread. It connects at first use and again after a failure; every wait has a time limit.
public final class RedisConnection {
    private let servers: RedisServers
    private let timeout: Int
    private var link: RedisLink?
    /// Nil: one Redis has all keys.
    private let cluster: RedisCluster?

    /// Keys lie on several nodes: commands for different nodes have no common order, and all keys of one command need
    /// one hash tag (an MGET excepted).
    public var isCluster: Bool { cluster != nil }

    /// - Parameters:
    ///   - url: in the form that ``RedisServers`` reads.
    ///   - timeout: milliseconds for connecting, and for each answer. One that is silent for longer is about to be replaced.
    public init(url: String, timeout: Int = 2000) throws(RedisError) {
        servers = try parse(url)
        self.timeout = timeout
        if case .cluster(let seeds) = servers.way {
            cluster = RedisCluster(servers, seeds: seeds, timeout: timeout)
        } else {
            cluster = nil
        }
    }

    public func close() {
        link = nil
        cluster?.close()
    }

    @discardableResult
    public func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue {
        let value = try pipeline([words])[0]
        if case .error(let text) = value { throw RedisError(description: "Redis: \(text)", isConnection: false) }
        return value
    }

    /// Sends all commands, then reads all answers. A refused command gives `.error` at its position.
    /// A `PUBLISH` to a cluster reaches the subscribers of the channel's own node (as `SPUBLISH`).
    public func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue] {
        if let cluster { return try cluster.pipeline(commands) }
        let link = try connected()
        do throws(RedisError) {
            let values = try link.ask(commands, timeout: timeout)
            for case .error(let text) in values {
                if let problem = RedisError(elsewhere: text) { throw problem }
            }
            return values
        } catch {
            if error.isConnection {
                link.distrust()
                close()
            }
            throw error
        }
    }

    /// The answers of all masters; of one Redis its own. An error of one is thrown.
    public func everywhere(_ words: [RedisWord]) throws(RedisError) -> [RedisValue] {
        guard let cluster else { return [try command(words)] }
        let values = try cluster.everywhere(words)
        for case .error(let text) in values { throw RedisError(description: "Redis: \(text)", isConnection: false) }
        return values
    }

    private func connected() throws(RedisError) -> RedisLink {
        if let link {
            guard link.hasHungUp else { return link }
            link.distrust()
        }
        let opened = try RedisLink.open(servers, timeout: timeout)
        link = opened
        return opened
    }
}

func parse(_ url: String) throws(RedisError) -> RedisServers {
    do { return try RedisServers(url) } catch {
        throw RedisError(description: "REDIS_URL: \(error)", isConnection: false)
    }
}
