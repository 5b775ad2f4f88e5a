import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// The stores of one thread.
typealias RelayStores = (history: any RoomHistory, revocations: any RevocationStore, users: PostgresUsers)

/// Answers the relay's queries on two threads: one for access (tickets, memberships, revocations), one for history
/// (rooms' frames, rooms of messages), so that many history queries do not delay access. Each takes all waiting queries
/// at once: memberships of many users become one SQL query, logs of many rooms one pipeline.
final class CatchUp: LookupOutlet {
    /// Waiting queries; above this a query counts as failed, and is repeated later.
    private static let waiting = 100_000
    /// Queries taken at once.
    private static let batch = 512

    /// Pages of rooms that are read at once: with `page` this bounds the memory for decoded frames.
    private static let atOnce = 16

    private let inbox = BoundedInbox<Lookup>(limit: waiting)
    private let history = BoundedInbox<Lookup>(limit: waiting)

    /// - Parameters:
    ///   - makeStores: called on the thread that will use them.
    /// - Throws: for a URL that is none. Later errors become `failed` answers.
    init(
        redisURL: String, answers: BoundedInbox<Found>, log: Logger,
        makeStores: @escaping @Sendable () -> RelayStores
    ) throws(RedisError) {
        for (name, inbox, most) in [("catch-up", inbox, Self.batch), ("history", history, Self.atOnce)] {
            // From here on the thread's own.
            nonisolated(unsafe) let redis = try RedisConnection(url: redisURL)
            _ = startThread(name) {
                let stores = makeStores()
                let answering = Answering(
                    history: stores.history, logs: RoomLogs(redis), revocations: stores.revocations,
                    users: stores.users,
                    news: RoomsOfUsers(stores.users, redis, log: log), tickets: RedisTickets(redis), log: log)
                while let lookups = inbox.take(atMost: most) {
                    for found in answering.answer(lookups) { answers.putWaiting(found, weight: found.bytes) }
                }
            }
        }
    }

    deinit {
        inbox.close()
        history.close()
    }

    func ask(_ lookup: Lookup) -> Bool {
        switch lookup {
        case .ticket, .memberships, .revocations, .learn: inbox.put(lookup)
        case .frames, .room: history.put(lookup)
        }
    }
}

extension Found {
    /// Bytes of frames; other answers are small.
    var bytes: Int {
        guard case .frames(_, _, let run, _) = self else { return 0 }
        return run.frames.reduce(0) { $0 + $1.body.bytes.count }
    }
}

/// Answers one batch of queries. Errors of the store become `failed`: the loop repeats the query.
final class Answering {
    private let history: any RoomHistory
    private let logs: any RoomLogReader
    private let revocations: any RevocationStore
    private let users: (any UserStore)?
    private let news: (any UserNews)?
    private let tickets: any TicketStore
    private let log: Logger
    private var outage = Outage()
    /// Frames per query: a megabyte of the longest messages.
    private static let storedFrames = 64

    init(
        history: any RoomHistory, logs: any RoomLogReader, revocations: any RevocationStore,
        users: (any UserStore)? = nil, news: (any UserNews)? = nil, tickets: any TicketStore, log: Logger
    ) {
        self.history = history
        self.logs = logs
        self.revocations = revocations
        self.users = users
        self.news = news
        self.tickets = tickets
        self.log = log
    }

    func answer(_ lookups: [Lookup]) -> [Found] {
        learn(lookups)
        let found = tokens(lookups) + memberships(lookups) + frames(lookups) + rooms(lookups)
        let isWell = !found.contains { if case .failed = $0 { true } else { false } }
        if isWell { outage.ended("PostgreSQL", log) }
        return found
    }

    private func learn(_ lookups: [Lookup]) {
        let claims = lookups.compactMap { if case .learn(let claims) = $0 { claims } else { nil } }
        guard !claims.isEmpty, let users else { return }
        do throws(StoreError) { news?.tell(try users.learn(claims)) } catch {
            outage.began("PostgreSQL", "\(error)", log)
        }
    }

    private func memberships(_ lookups: [Lookup]) -> [Found] {
        let asked = lookups.compactMap { lookup -> (user: UUID128, epoch: UInt64)? in
            if case .memberships(let user, let epoch) = lookup { (user, epoch) } else { nil }
        }
        guard !asked.isEmpty else { return [] }
        do throws(StoreError) {
            let all = Dictionary(
                grouping: try history.memberships(of: Array(Set(asked.map(\.user)))), by: \.user)
            return asked.map { .memberships(of: $0.user, epoch: $0.epoch, all[$0.user] ?? []) }
        } catch {
            outage.began("PostgreSQL", "\(error)", log)
            return asked.map { .failed(.memberships(of: $0.user, epoch: $0.epoch)) }
        }
    }

    private func rooms(_ lookups: [Lookup]) -> [Found] {
        lookups.compactMap { lookup in
            guard case .room(let message, let latent) = lookup else { return nil }
            do throws(StoreError) {
                return .room(try history.roomOfMessage(message), ofMessage: message, latent)
            } catch {
                outage.began("PostgreSQL", "\(error)", log)
                return .failed(lookup)
            }
        }
    }

    /// Tickets and revocations: at most one round trip each.
    private func tokens(_ lookups: [Lookup]) -> [Found] {
        lookups.compactMap { lookup in
            switch lookup {
            case .ticket(let ticket, let connection):
                do throws(BusError) {
                    return .ticket(try tickets.redeem(ticket), connection: connection)
                } catch {
                    return .failed(lookup)
                }
            case .revocations(let since):
                guard let news = try? revocations.revocations(since: since) else { return .failed(lookup) }
                return .revocations(news)
            default: return nil
            }
        }
    }

    // MARK: Frames

    private func frames(_ lookups: [Lookup]) -> [Found] {
        let asked = lookups.compactMap { lookup -> FramesAsked? in
            guard case .frames(let room, let after, let atLeast, let limit, let purpose) = lookup else { return nil }
            return FramesAsked(
                room: room, after: after, atLeast: atLeast, limit: limit, purpose: purpose, lookup: lookup)
        }
        guard !asked.isEmpty else { return [] }
        var isStoreLost = false
        return zip(asked, logs.read(asked)).map { question, logged in
            if let logged, logged.isWholeTruth(for: question) { return question.found(logged) }
            guard !isStoreLost else { return .failed(question.lookup) }
            do throws(StoreError) {
                return question.found(try stored(question, logged))
            } catch {
                isStoreLost = true
                outage.began("PostgreSQL", "\(error)", log)
                return .failed(question.lookup)
            }
        }
    }

    /// The log's frames up to the first gap, then PostgreSQL's. The newest Seq in PostgreSQL is read first: all frames
    /// up to it are stored.
    private func stored(_ question: FramesAsked, _ logged: FrameRun?) throws(StoreError) -> FrameRun {
        var run = logged ?? FrameRun(frames: [], through: question.after, newest: question.after)
        guard let newest = try history.lastSeqs(of: [question.room])[question.room], newest > run.through else {
            run.newest = run.through
            return run
        }
        // The log's frames come first, because they name the asking socket. The rest is fetched by the next query.
        guard run.frames.isEmpty else {
            run.newest = newest
            return run
        }
        let limit = min(question.limit, Self.storedFrames)
        let frames = try history.frames(of: question.room, after: run.through, limit: limit)
        let looked = max(min(newest, run.through + UInt64(limit)), frames.last?.seq ?? 0)
        let page = question.page(of: frames)
        return FrameRun(
            frames: Array(page), through: page.count == frames.count ? looked : page.last?.seq ?? looked,
            newest: max(newest, looked))
    }
}

struct FramesAsked {
    let room: UUID128
    let after: UInt64
    let atLeast: UInt64
    let limit: Int
    let purpose: Lookup.Purpose
    let lookup: Lookup

    /// The bytes of frames in one answer, not counting the last frame: a room waits for its whole gap, a socket takes
    /// one page at a time.
    var pageBytes: Int { if case .socket = purpose { 49_152 } else { 262_144 } }

    /// The beginning of the frames, as much as one answer holds.
    func page(of frames: [RoomFrame]) -> ArraySlice<RoomFrame> {
        var bytes = 0
        return frames.prefix { frame in
            defer { bytes += frame.body.bytes.count }
            return bytes < pageBytes
        }
    }

    func found(_ run: FrameRun) -> Found { .frames(room: room, after: after, run, purpose) }
}

extension FrameRun {
    /// Whether the log is complete. When it ends too early or begins with a gap, PostgreSQL is read.
    fileprivate func isWholeTruth(for question: FramesAsked) -> Bool {
        !frames.isEmpty || through >= question.atLeast && newest == through
    }
}

/// Reads the rooms' logs from a Seq up to the first gap; nil for a log that could not be read.
protocol RoomLogReader: AnyObject {
    func read(_ questions: [FramesAsked]) -> [FrameRun?]
}

/// The logs in Redis: streams of chunks; an entry's id is its last frame's Seq.
final class RoomLogs: RoomLogReader {
    /// Entries in the first answer, and the most in a later one: each entry has up to a batch of frames, and its size
    /// is known only after reading it.
    private static let firstEntries = 8
    private static let maxEntries = 256
    private let connection: any RedisCommands
    private let isCluster: Bool

    init(_ connection: any RedisCommands) {
        self.connection = connection
        isCluster = connection.isCluster
    }

    func read(_ questions: [FramesAsked]) -> [FrameRun?] {
        var pages = questions.map { Page($0) }
        while true {
            let some = pages.indices.filter { pages[$0].wantsMore }
            guard !some.isEmpty else { return pages.map(\.run) }
            let commands = some.map { pages[$0].command(inCluster: isCluster) }
            // The connection may have broken while idle: the second try opens a new one.
            guard let values = (try? connection.pipeline(commands)) ?? (try? connection.pipeline(commands)) else {
                return pages.map { $0.wantsMore ? nil : $0.run }
            }
            for (place, value) in zip(some, values) { pages[place].take(value.array) }
        }
    }

    /// The frames for one query, collected from the answers.
    private struct Page {
        private let question: FramesAsked
        private(set) var run: FrameRun?
        private(set) var wantsMore = true
        private var asked = RoomLogs.firstEntries
        private var bytes = 0

        init(_ question: FramesAsked) {
            self.question = question
            run = FrameRun(frames: [], through: question.after, newest: question.after)
        }

        func command(inCluster: Bool) -> [[UInt8]] {
            let after = run?.through ?? question.after
            let key = RedisKey.roomLog(question.room, inCluster: inCluster)
            return ["XRANGE", key, "\(after + 1)-0", "+", "COUNT", "\(asked)"]
                .map { [UInt8](word: $0) }
        }

        mutating func take(_ entries: [RedisValue]?) {
            wantsMore = false
            guard var run, let entries else { return run = nil }
            defer { self.run = run }
            let (before, through) = (bytes, run.through)
            for entry in entries {
                guard let fields = entry.array?.last?.array, fields.count >= 2, let packed = fields[1].bytes,
                    let chunk = try? FrameChunk.decode(packed)
                else { continue }
                for frame in chunk.frames where frame.seq > run.through {
                    guard frame.seq == run.through + 1, run.frames.count < question.limit, bytes < question.pageBytes
                    else {
                        // A gap, or enough frames: more must be fetched.
                        run.newest = frame.seq
                        return
                    }
                    run.frames.append(frame)
                    run.through = frame.seq
                    bytes += frame.body.bytes.count
                }
            }
            run.newest = entries.count == asked ? run.through + 1 : run.through
            guard entries.count == asked, run.through > through else { return }
            // As many entries as fit, by the size of these.
            let each = max(1, (bytes - before) / max(1, entries.count))
            asked = min(RoomLogs.maxEntries, max(1, (question.pageBytes - bytes) / each))
            wantsMore = bytes < question.pageBytes && run.frames.count < question.limit
        }
    }
}
