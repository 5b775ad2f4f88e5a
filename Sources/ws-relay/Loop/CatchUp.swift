import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// Answers the relay's questions on a thread of its own: everything that waits at once, memberships of many users in
/// one query, logs of many rooms in one pipeline.
final class CatchUp: LookupOutlet {
    /// Questions that wait; past it a question counts as failed, and is asked again.
    private static let waiting = 100_000
    /// Questions taken at once.
    private static let batch = 512

    private let inbox = BoundedInbox<Lookup>(limit: waiting)

    /// - Parameters:
    ///   - makeStores: called on the thread that will use it.
    init(
        redisURL: String, answers: BoundedInbox<Found>, log: Logger,
        makeStores: @escaping @Sendable () -> (history: any RoomHistory, revocations: any RevocationStore)
    ) {
        let inbox = inbox
        _ = startThread("catch-up") {
            let (history, revocations) = makeStores()
            let redis = try? RedisConnection(url: redisURL)
            let answering = Answering(
                history: history, logs: RoomLogs(redis), revocations: revocations,
                tickets: redis.map { RedisTickets($0) }, log: log)
            while let lookups = inbox.take(atMost: Self.batch) {
                for found in answering.answer(lookups) { answers.putWaiting(found) }
            }
        }
    }

    deinit { inbox.close() }

    func ask(_ lookup: Lookup) -> Bool { inbox.put(lookup) }
}

/// What one batch of questions brings. The store's errors become `failed`: the loop asks again.
final class Answering {
    private let history: any RoomHistory
    private let logs: any RoomLogReader
    private let revocations: any RevocationStore
    private let tickets: (any TicketStore)?
    private let log: Logger
    private var outage = Outage()

    init(
        history: any RoomHistory, logs: any RoomLogReader, revocations: any RevocationStore,
        tickets: (any TicketStore)?, log: Logger
    ) {
        self.history = history
        self.logs = logs
        self.revocations = revocations
        self.tickets = tickets
        self.log = log
    }

    func answer(_ lookups: [Lookup]) -> [Found] {
        let found = tokens(lookups) + memberships(lookups) + frames(lookups) + rooms(lookups)
        let isWell = !found.contains { if case .failed = $0 { true } else { false } }
        if isWell { outage.ended("PostgreSQL", log) }
        return found
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

    /// Tickets and revocations: each at most a round trip.
    private func tokens(_ lookups: [Lookup]) -> [Found] {
        lookups.compactMap { lookup in
            switch lookup {
            case .ticket(let ticket, let connection):
                guard let tickets else { return .failed(lookup) }
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

    /// The log's frames as far as they go without a hole, then PostgreSQL's. Its newest Seq is read first: the frames
    /// up to there are stored with it.
    private func stored(_ question: FramesAsked, _ logged: FrameRun?) throws(StoreError) -> FrameRun {
        var run = logged ?? FrameRun(frames: [], through: question.after, newest: question.after)
        guard let newest = try history.lastSeqs(of: [question.room])[question.room], newest > run.through else {
            run.newest = run.through
            return run
        }
        // What the log has goes first: it names the socket that asked. The rest is asked for again.
        guard run.frames.isEmpty else {
            run.newest = newest
            return run
        }
        let frames = try history.frames(of: question.room, after: run.through, limit: question.limit)
        let looked = min(newest, run.through + UInt64(question.limit))
        return FrameRun(
            frames: frames, through: max(looked, frames.last?.seq ?? 0), newest: max(newest, frames.last?.seq ?? 0))
    }
}

struct FramesAsked {
    let room: UUID128
    let after: UInt64
    let atLeast: UInt64
    let limit: Int
    let purpose: Lookup.Purpose
    let lookup: Lookup

    func found(_ run: FrameRun) -> Found { .frames(room: room, after: after, run, purpose) }
}

extension FrameRun {
    /// A log that ends before what is known to exist, or begins with a hole, is not: PostgreSQL is asked.
    fileprivate func isWholeTruth(for question: FramesAsked) -> Bool {
        !frames.isEmpty || through >= question.atLeast && newest == through
    }
}

/// Pieces of the rooms' logs, as far as they go on from a Seq without a hole; nil where the log could not be read.
protocol RoomLogReader: AnyObject {
    func read(_ questions: [FramesAsked]) -> [FrameRun?]
}

/// The logs in Redis: streams of chunks, the entry's id is its last frame's Seq.
final class RoomLogs: RoomLogReader {
    /// Entries of one answer: each has up to a batch of frames.
    private static let entries = 256
    private let connection: RedisConnection?

    init(_ connection: RedisConnection?) { self.connection = connection }

    func read(_ questions: [FramesAsked]) -> [FrameRun?] {
        let commands = questions.map { question in
            ["XRANGE", RedisKey.roomLog(question.room), "\(question.after + 1)-0", "+", "COUNT", "\(Self.entries)"]
                .map { [UInt8](word: $0) }
        }
        // The connection may have broken while nothing was asked: the second try makes a new one.
        guard let values = (try? connection?.pipeline(commands)) ?? (try? connection?.pipeline(commands)) else {
            return questions.map { _ in nil }
        }
        return zip(questions, values).map { question, value in
            value.array.map { Self.run($0, question) }
        }
    }

    private static func run(_ entries: [RedisValue], _ question: FramesAsked) -> FrameRun {
        let chunks = entries.compactMap { entry -> FrameChunk? in
            guard let fields = entry.array?.last?.array, fields.count >= 2, let bytes = fields[1].bytes else {
                return nil
            }
            return try? FrameChunk.decode(bytes)
        }
        var run = FrameRun(frames: [], through: question.after, newest: question.after)
        for frame in chunks.flatMap(\.frames) where frame.seq > run.through {
            guard frame.seq == run.through + 1, run.frames.count < question.limit else {
                // A hole, or enough: there is more.
                run.newest = frame.seq
                return run
            }
            run.frames.append(frame)
            run.through = frame.seq
        }
        run.newest = entries.count == Self.entries ? run.through + 1 : run.through
        return run
    }
}
