import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// Looks for a cluster's nodes and connects to them, without blocking its caller.
protocol ClusterScouting: AnyObject {
    /// Readable when there are reports.
    var descriptor: Int32 { get }
    func seekMap()
    func open(_ host: ServerURL.Host)
    func takeReports() -> [ScoutReport]
    func shutDown()
}

enum ScoutReport {
    case map(ClusterMap)
    case noMap(String)
    case opened(ServerURL.Host, any FeedConnection)
    case notOpened(ServerURL.Host, String)
}

/// The relay's subscriptions in a Redis Cluster: one connection to each node with channels of this relay.
///
/// The messages of a channel keep their order; those of different channels may not. The loss of a node, and a slot that
/// moves, concern its channels alone: each is reported as regained once it is subscribed again.
final class ClusterFeed: RelayFeed {
    private static let delays: ClosedRange<Int64> = 100...2000
    /// As in `RedisFeed`.
    private static let silence: Duration = .seconds(1)
    private static let timeout: Duration = .seconds(3)
    private static let scoutHandle = UInt64.max

    /// A connection to a node.
    private final class Shard {
        let host: ServerURL.Host
        let connection: any FeedConnection
        let handle: UInt64
        var heardAt: Int64
        var hasPinged = false
        var watchesWrite = false
        /// Pings that were sent, and answered.
        var pings = 0
        var pongs = 0

        init(_ host: ServerURL.Host, _ connection: any FeedConnection, _ handle: UInt64, _ now: Int64) {
            (self.host, self.connection, self.handle, heardAt) = (host, connection, handle, now)
        }

        func ping() {
            connection.ping()
            pings += 1
        }
    }

    /// Attempts that fail become rarer.
    private struct Attempts {
        var next: Int64 = 0
        var delay = delays.lowerBound
        var isUnderWay = false
        var outage = Outage()

        mutating func failed(_ now: Int64) {
            (isUnderWay, next) = (false, now + delay)
            delay = min(delay * 2, delays.upperBound)
        }
    }

    private let scout: any ClusterScouting
    private let log: Logger
    private let epoll = Epoll()
    private var book = ClusterBook()
    private var shards: [UInt64: Shard] = [:]
    private var handles: [ServerURL.Host: UInt64] = [:]
    private var lastHandle: UInt64 = 0
    private var attempts: [ServerURL.Host: Attempts] = [:]
    private var seeking = Attempts()
    private var probes = ProbeFence()
    private var isOver = false

    init(_ scout: any ClusterScouting, log: Logger) {
        (self.scout, self.log) = (scout, log)
        epoll.add(scout.descriptor, .read, handle: Self.scoutHandle)
    }

    /// Readable when a node or the scout has something.
    var descriptor: Int32 { epoll.descriptor }
    var wantsWrite: Bool { false }
    var connection: Int { 1 }
    var isAway: Bool { !book.isWhole }
    var isWhole: Bool { book.isWhole }
    var hasOneOrder: Bool { false }

    func subscribe(_ channel: String) { book.subscribe(channel) }
    func unsubscribe(_ channel: String) { book.unsubscribe(channel) }

    func wait(milliseconds: Int32) {
        var polls = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        poll(&polls, 1, milliseconds)
    }

    // MARK: Nodes

    func keepUp(now: Int64, _ handle: (FeedEvent) -> Void) {
        guard !isOver else { return }
        for report in scout.takeReports() { take(report, now) }
        for shard in shards.values { checkLife(shard, now) }
        book.sayFarewell(now: now)
        seek(now)
        for host in book.wanted where handles[host] == nil { open(host, now) }
    }

    /// Asks for the map: at once when it is needed, and from time to time, since nobody tells that a node was replaced.
    private func seek(_ now: Int64) {
        guard !seeking.isUnderWay, now >= seeking.next else { return }
        seeking.isUnderWay = true
        scout.seekMap()
    }

    private func open(_ host: ServerURL.Host, _ now: Int64) {
        guard attempts[host] == nil || attempts[host]!.next <= now, attempts[host]?.isUnderWay != true else { return }
        attempts[host, default: Attempts()].isUnderWay = true
        scout.open(host)
    }

    private func take(_ report: ScoutReport, _ now: Int64) {
        switch report {
        case .map(let map):
            seeking.outage.ended("Redis Cluster", log)
            book.mapped(map, now: now)
            if book.needsMap { seeking.failed(now) } else { calm(now) }
            closeUnused(map)
        case .noMap(let why):
            seeking.outage.began("Redis Cluster", why, log)
            seeking.failed(now)
        case .opened(let host, let connection): opened(host, connection, now)
        case .notOpened(let host, let why):
            attempts[host, default: Attempts()].outage.began("Redis \(host)", why, log)
            attempts[host]?.failed(now)
            seekSoon(now)
        }
    }

    private func calm(_ now: Int64) {
        (seeking.isUnderWay, seeking.delay) = (false, Self.delays.lowerBound)
        seeking.next = now + Self.delays.upperBound
    }

    private func seekSoon(_ now: Int64) { seeking.next = min(seeking.next, now + seeking.delay) }

    private func opened(_ host: ServerURL.Host, _ connection: any FeedConnection, _ now: Int64) {
        guard handles[host] == nil, !isOver else { return connection.close() }
        lastHandle += 1
        let shard = Shard(host, connection, lastHandle, now)
        (shards[lastHandle], handles[host]) = (shard, lastHandle)
        epoll.add(connection.fileDescriptor, .read, handle: lastHandle)
        attempts[host]?.outage.ended("Redis \(host)", log)
        attempts[host] = nil
        probes.drop()
        book.opened(host)
    }

    private func closeUnused(_ map: ClusterMap) {
        let wanted = Set(book.wanted)
        for shard in Array(shards.values) where !wanted.contains(shard.host) && !map.nodes.contains(shard.host) {
            close(shard)
        }
        for host in attempts.keys where !wanted.contains(host) { attempts[host] = nil }
    }

    private func checkLife(_ shard: Shard, _ now: Int64) {
        if now - shard.heardAt > Self.timeout.milliseconds { return lose(shard, "it does not answer", now) }
        if now - shard.heardAt > Self.silence.milliseconds, !shard.hasPinged {
            shard.hasPinged = true
            shard.ping()
        }
    }

    private func close(_ shard: Shard) {
        epoll.remove(shard.connection.fileDescriptor)
        shard.connection.close()
        (shards[shard.handle], handles[shard.host]) = (nil, nil)
        probes.drop()
        book.lost(shard.host)
    }

    private func lose(_ shard: Shard, _ why: String, _ now: Int64) {
        attempts[shard.host, default: Attempts()].outage.began("Redis \(shard.host)", why, log)
        close(shard)
        seekSoon(now)
    }

    /// Closes the feed for good: it never connects again.
    func shutDown() {
        isOver = true
        for shard in Array(shards.values) { close(shard) }
        scout.shutDown()
    }

    // MARK: What arrives

    /// Reads and handles up to 16 KiB of each node. False when nothing is left.
    func read(now: Int64, _ handle: (FeedEvent) -> Void) -> Bool {
        var some = false
        epoll.wait(milliseconds: 0) { event in
            guard let shard = shards[event.handle] else { return }
            if event.isWritable { flush(shard, now) }
            if event.isReadable || event.isBroken { some = read(shard, now, handle) || some }
        }
        return some
    }

    private func read(_ shard: Shard, _ now: Int64, _ handle: (FeedEvent) -> Void) -> Bool {
        guard shards[shard.handle] != nil else { return false }
        do throws(RedisError) {
            let some = try shard.connection.readAvailable { take($0, shard, now, handle) }
            if some { (shard.heardAt, shard.hasPinged) = (now, false) }
            return some
        } catch {
            lose(shard, error.description, now)
            return false
        }
    }

    private func take(
        _ event: RedisSubscription.SubscriptionEvent, _ shard: Shard, _ now: Int64, _ handle: (FeedEvent) -> Void
    ) {
        switch event {
        case .message(let channel, let payload):
            guard ProbeFence.holds(payload) else { return handle(.message(channel: channel, payload: payload)) }
            probes.take(channel)
            askNodes()
        case .subscribed(let channel):
            switch book.subscribed(channel, at: shard.host) {
            case .nothing: break
            case .subscribed: handle(.subscribed(channel: channel))
            case .regained: handle(.regained(channel: channel))
            }
        case .unsubscribed(let channel):
            book.unsubscribed(channel, at: shard.host)
            if book.needsMap { seekSoon(now) }
        case .refused(let why):
            book.refused(at: shard.host)
            log.debug("a node refused a subscription", metadata: ["node": "\(shard.host)", "error": "\(why)"])
            if book.needsMap { seekSoon(now) }
        case .pong:
            shard.pongs += 1
            for channel in probes.answered(by: shard.handle, shard.pongs) {
                handle(.message(channel: channel, payload: ProbeFence.payload))
            }
            askNodes()
        }
    }

    /// Probes follow the frames that were published before them, which may be on their way from other nodes.
    private func askNodes() {
        guard probes.isWaiting else { return }
        // A probe that is not answered lets a push go out.
        guard book.isWhole else { return probes.drop() }
        for shard in shards.values { shard.ping() }
        probes.begin(Dictionary(uniqueKeysWithValues: shards.values.map { ($0.handle, $0.pings) }))
    }

    // MARK: What is sent

    /// Sends the tick's changes, at most 1,000 channels at once.
    func endTick(now: Int64, _ handle: (FeedEvent) -> Void) {
        var rest = book.takeOutgoing()[...]
        while let first = rest.first {
            let run = rest.prefix(1000).prefix { $0.host == first.host && $0.isSubscription == first.isSubscription }
            rest = rest.dropFirst(run.count)
            guard let connection = handles[first.host].flatMap({ shards[$0]?.connection }) else { continue }
            let channels = run.map(\.channel)
            if first.isSubscription { connection.subscribe(channels) } else { connection.unsubscribe(channels) }
        }
        for shard in shards.values where shard.connection.wantsWrite { flush(shard, now) }
    }

    private func flush(_ shard: Shard, _ now: Int64) {
        do throws(RedisError) { try shard.connection.flush() } catch { return lose(shard, error.description, now) }
        guard shard.watchesWrite != shard.connection.wantsWrite else { return }
        shard.watchesWrite = shard.connection.wantsWrite
        epoll.change(
            shard.connection.fileDescriptor, shard.watchesWrite ? [.read, .write] : .read, handle: shard.handle)
    }
}

/// Probes that wait until every node has sent what was published before them: until each has answered a ping that was
/// sent after the probe came.
struct ProbeFence {
    static let payload = UserEvent.probe.encode()
    /// Above this, probes are not answered.
    private static let most = 100_000

    private var waiting: [String] = []
    private var asked: [String] = []
    /// By the node's handle: the pings that it must have answered.
    private var awaited: [UInt64: Int] = [:]

    /// No other message is as short.
    static func holds(_ payload: [UInt8]) -> Bool { payload.count == 1 && payload == Self.payload }

    /// A new round should begin.
    var isWaiting: Bool { !waiting.isEmpty && awaited.isEmpty }

    mutating func take(_ channel: String) { if waiting.count < Self.most { waiting.append(channel) } }

    mutating func begin(_ pings: [UInt64: Int]) { (asked, waiting, awaited) = (waiting, [], pings) }

    /// - Returns: probes that have waited for all.
    mutating func answered(by handle: UInt64, _ pongs: Int) -> [String] {
        guard let least = awaited[handle], pongs >= least else { return [] }
        awaited[handle] = nil
        guard awaited.isEmpty else { return [] }
        defer { asked = [] }
        return asked
    }

    /// A node is lost: what it had to say is unknown.
    mutating func drop() { self = ProbeFence() }
}

/// The scout on a thread of its own.
final class ScoutThread: ClusterScouting {
    private enum Question: Sendable {
        case map
        case open(ServerURL.Host)
    }

    /// A connection is passed on whole: the thread forgets it.
    private struct Passed: @unchecked Sendable { let report: ScoutReport }

    private let questions = BoundedInbox<Question>(limit: 10_000)
    private let reports: BoundedInbox<Passed>
    private let arrival = EventCounter()

    init(url: String) {
        let (questions, arrival) = (questions, arrival)
        let reports = BoundedInbox<Passed>(limit: 10_000, onArrival: { arrival.wake() })
        self.reports = reports
        _ = startThread("cluster") {
            guard let scout = try? ClusterScout(url: url) else { return }
            while let some = questions.take() {
                for question in some { reports.putWaiting(Passed(report: Self.answer(question, scout))) }
            }
        }
    }

    deinit {
        questions.close()
        reports.close()
    }

    private static func answer(_ question: Question, _ scout: ClusterScout) -> ScoutReport {
        switch question {
        case .map: do { return .map(try scout.map()) } catch { return .noMap(error.description) }
        case .open(let host):
            do { return .opened(host, try scout.subscription(to: host)) } catch {
                return .notOpened(host, error.description)
            }
        }
    }

    var descriptor: Int32 { arrival.descriptor }
    func seekMap() { _ = questions.put(.map) }
    func open(_ host: ServerURL.Host) { _ = questions.put(.open(host)) }
    func shutDown() { questions.close() }

    func takeReports() -> [ScoutReport] {
        arrival.clear()
        return reports.drain().map(\.report)
    }
}
