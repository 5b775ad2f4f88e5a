public import ChatCore
import Glibc

/// The connections of one thread to the masters of a cluster, one to each, opened when they are needed.
///
/// Commands for one node keep their order; nothing is promised about the order among nodes. Nothing is sent before
/// every needed node is connected. A command is sent again only if a node has refused it, so none is carried out twice.
final class RedisCluster {
    /// Microseconds between two rounds while a slot moves.
    private static let pause: UInt32 = 25_000
    /// Milliseconds between two maps while slots move: what the nodes say of single slots counts meanwhile, and any of
    /// them may know less.
    private static let mapAge: Int64 = 1000

    private let servers: RedisServers
    private let seeds: [ServerURL.Host]
    private let timeout: Int
    private var map: ClusterMap?
    private var learntAt: Int64 = 0
    private var isStale = false
    private var links: [ServerURL.Host: RedisLink] = [:]
    /// When a node could not be reached: others are asked first.
    private var failures: [ServerURL.Host: Int64] = [:]

    init(_ servers: RedisServers, seeds: [ServerURL.Host], timeout: Int) {
        (self.servers, self.seeds, self.timeout) = (servers, seeds.shuffled(), timeout)
    }

    func close() { links = [:] }

    func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue] {
        if isStale, monotonicMilliseconds() - learntAt >= Self.mapAge { map = nil }
        var errand = ClusterErrand(commands)
        while !errand.isDone {
            var map = try currentMap()
            try round(&errand, &map)
            self.map = map
            if errand.hasMoved { isStale = true }
            if errand.mustWait { usleep(Self.pause) }
        }
        return errand.results
    }

    /// The answers of all masters. Only the newest map knows them: a former master answers what has no key, too.
    func everywhere(_ words: [RedisWord]) throws(RedisError) -> [RedisValue] {
        var values: [RedisValue] = []
        for host in try learn().nodes {
            do throws(RedisError) {
                let link = try link(to: host, until: monotonicMilliseconds() + Int64(timeout))
                values += try link.ask([words], timeout: timeout)
            } catch {
                lose(host)
                map = nil
                throw error.reason.contains("\(host)") ? error : RedisError(reason: "\(host): \(error.reason)")
            }
        }
        return values
    }

    private func round(_ errand: inout ClusterErrand, _ map: inout ClusterMap) throws(RedisError) {
        var steps = try errand.steps(map)
        do { try connect(steps.map(\.host)) } catch {
            // Another node may have taken the slots of one that is gone; nothing was sent.
            let (before, now) = (map, try learn())
            guard now != before else { throw error }
            map = now
            steps = try errand.steps(map)
            try connect(steps.map(\.host))
        }
        try exchange(steps, &errand, &map)
    }

    private func connect(_ hosts: [ServerURL.Host]) throws(RedisError) {
        let deadline = monotonicMilliseconds() + Int64(timeout)
        for (index, host) in hosts.enumerated() {
            let mine = HostOrder.share(of: deadline, among: hosts.count - index, now: monotonicMilliseconds())
            _ = try link(to: host, until: mine)
        }
    }

    /// Sends everything before the first answer is read: the nodes work at once. All answers of the others are read
    /// even when one fails, so that their connections can be used again.
    private func exchange(
        _ steps: [(host: ServerURL.Host, steps: [ClusterErrand.Step])], _ errand: inout ClusterErrand,
        _ map: inout ClusterMap
    ) throws(RedisError) {
        var problem: RedisError?
        for (host, steps) in steps {
            var words: [[RedisWord]] = []
            for step in steps {
                if step.asking { words.append([RedisWord(word: "ASKING")]) }
                words.append(errand.commands[step.index])
            }
            do throws(RedisError) { try links[host]?.post(words, timeout: timeout) } catch {
                lose(host)
                problem = error
            }
        }
        for (host, steps) in steps {
            guard let link = links[host] else { continue }
            do throws(RedisError) {
                let count = steps.count + steps.count { $0.asking }
                let answers = try link.answers(count, timeout: timeout)
                let kept = Self.withoutAsking(answers, steps)
                for case .error(let text) in kept {
                    if let elsewhere = RedisError(unusable: text) { throw elsewhere }
                }
                errand.take(kept, to: steps, from: host, &map)
            } catch {
                lose(host)
                problem = error
            }
        }
        if let problem {
            self.map = nil
            throw problem
        }
        errand.endRound()
    }

    private static func withoutAsking(_ answers: [RedisValue], _ steps: [ClusterErrand.Step]) -> [RedisValue] {
        guard steps.contains(where: \.asking) else { return answers }
        var kept: [RedisValue] = []
        var rest = answers[...]
        for step in steps {
            if step.asking { rest = rest.dropFirst() }
            kept.append(rest.popFirst() ?? .null)
        }
        return kept
    }

    // MARK: Nodes

    private func currentMap() throws(RedisError) -> ClusterMap {
        if let map { return map }
        return try learn()
    }

    /// Asks one node after another: those that are connected, the other known ones, those in the URL.
    private func learn() throws(RedisError) -> ClusterMap {
        let now = monotonicMilliseconds()
        var hosts: [ServerURL.Host] = []
        for host in Array(links.keys) + (map?.nodes ?? []) + seeds where !hosts.contains(host) { hosts.append(host) }
        let suspects = hosts.filter { isSuspect($0, now) }
        hosts = hosts.filter { !isSuspect($0, now) } + suspects
        let deadline = now + Int64(timeout)
        var problems: [String] = []
        for (index, host) in hosts.enumerated() {
            let mine = HostOrder.share(of: deadline, among: hosts.count - index, now: monotonicMilliseconds())
            do throws(RedisError) {
                let found = try Self.slots(try link(to: host, until: mine), host, until: mine)
                keepOnly(found.nodes)
                (map, learntAt, isStale) = (found, monotonicMilliseconds(), false)
                return found
            } catch {
                lose(host)
                problems.append("\(host): \(error.reason)")
            }
        }
        map = nil
        throw RedisError(reason: problems.joined(separator: "; "))
    }

    /// - Parameter host: its address, for a node that does not know its own.
    static func slots(
        _ link: RedisLink, _ host: ServerURL.Host, until deadline: Int64
    ) throws(RedisError) -> ClusterMap {
        let answer = try link.ask([["CLUSTER", "SLOTS"].map { RedisWord(word: $0) }], until: deadline)[0]
        if case .error(let text) = answer { throw RedisError(reason: text) }
        guard let map = ClusterMap(answer, from: host), !map.nodes.isEmpty else {
            throw RedisError(reason: "it names no node of the cluster")
        }
        return map
    }

    private func keepOnly(_ nodes: [ServerURL.Host]) {
        for host in links.keys where !nodes.contains(host) { links[host] = nil }
        for host in failures.keys where !nodes.contains(host) && !seeds.contains(host) { failures[host] = nil }
    }

    private func isSuspect(_ host: ServerURL.Host, _ now: Int64) -> Bool {
        failures[host].map { now - $0 < HostOrder.grudge.milliseconds } ?? false
    }

    private func link(to host: ServerURL.Host, until deadline: Int64) throws(RedisError) -> RedisLink {
        if let link = links[host], !link.hasHungUp { return link }
        links[host] = nil
        do throws(RedisError) {
            let link = try RedisLink.open(host, of: servers, until: deadline)
            (links[host], failures[host]) = (link, nil)
            return link
        } catch {
            lose(host)
            throw RedisError(reason: "\(host): \(error.reason)")
        }
    }

    private func lose(_ host: ServerURL.Host) {
        links[host] = nil
        failures[host] = monotonicMilliseconds()
    }
}

/// Asks a cluster for its map, and opens subscriptions to its nodes: each call blocks, up to its time limit.
public final class ClusterScout {
    private let cluster: RedisCluster
    private let servers: RedisServers

    /// Nil: the URL leads to no cluster.
    public init?(url: String) throws(RedisError) {
        servers = try parse(url)
        guard case .cluster(let seeds) = servers.way else { return nil }
        cluster = RedisCluster(servers, seeds: seeds, timeout: 1000)
    }

    public func map() throws(RedisError) -> ClusterMap { try cluster.newestMap() }

    public func subscription(to host: ServerURL.Host) throws(RedisError) -> RedisSubscription {
        let subscription = RedisSubscription(servers, shard: host)
        try subscription.connect(timeout: 1000)
        return subscription
    }
}

extension RedisCluster {
    fileprivate func newestMap() throws(RedisError) -> ClusterMap { try learn() }
}
