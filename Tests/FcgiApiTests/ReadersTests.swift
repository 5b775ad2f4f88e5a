import ChatCore
import TestSupport
import Testing

@testable import fcgi_api

private final class Position: LogPosition {
    var now: Int64 = 100
    var session = 1
    var failure: StoreError?
    /// Called at each question.
    var asked: () -> Void = {}

    func position() throws(StoreError) -> Int64 {
        asked()
        if let failure { throw failure }
        return now
    }
}

private final class Marks: WriteMarks {
    var since: Int64? = 0
    var users: [UUID128: Int64] = [:]
    var rooms: [UUID128: Int64] = [:]
    var failure: BusError?

    func record(_ written: Written) throws(BusError) {
        if let failure { throw failure }
        for user in written.users { users[user] = max(users[user] ?? 0, written.position) }
        for room in written.rooms { rooms[room] = max(rooms[room] ?? 0, written.position) }
    }

    func position(of user: UUID128, in room: UUID128?) throws(BusError) -> Int64? {
        if let failure { throw failure }
        guard let since else { return nil }
        return [since, users[user] ?? 0, room.flatMap { rooms[$0] } ?? 0].max()
    }

    func begin(at position: Int64) throws(BusError) { since = since ?? position }
}

private let away = StoreError("away", isTransient: true)

@Suite struct ReadersTests {
    private final class Scene {
        let primary = OneRoom(), replica = OneRoom()
        let primaryPosition = Position(), replicaPosition = Position()
        let marks = Marks()
        let ann = UUID128(high: 1, low: 1), bob = UUID128(high: 1, low: 2), room = UUID128(high: 2, low: 2)
        var now: Int64 = 1_000_000
        var lags: [Int64?] = []
        var readers: Readers!

        init(maxLag: Int64 = 30_000) {
            readers = Readers(
                primary: primary,
                replica: .init(
                    reader: replica, position: replicaPosition, primaryPosition: primaryPosition, marks: marks,
                    maxLag: maxLag), now: { [unowned self] in now })
            readers.onLag = { [unowned self] in lags.append($0) }
        }

        /// Which of the two a read of this user comes from.
        func reads(_ user: UUID128, in room: UUID128? = nil) throws -> Readers.Choice {
            try readers.read(for: user, in: room) { [unowned self] (reader) throws(StoreError) in
                reader === replica ? .replica : .primary
            }
        }
    }

    @Test func aReplicaThatHasEverythingReads() throws {
        let scene = Scene()
        #expect(try scene.reads(scene.ann) == .replica)
        #expect(scene.lags == [0])
    }

    /// Whoever wrote: fcgi-api here or on another host, or a queue-worker for a WebSocket.
    @Test func aUserReadsFromThePrimaryUntilTheReplicaHasWhatTheyWrote() throws {
        let scene = Scene()
        _ = try scene.reads(scene.ann)
        scene.primaryPosition.now = 200
        try scene.marks.record(Written(position: 150, users: [scene.ann]))
        #expect(try scene.reads(scene.ann) == .primary)
        #expect(try scene.reads(scene.bob) == .replica)
        scene.replicaPosition.now = 149
        #expect(try scene.reads(scene.ann) == .primary)
        scene.replicaPosition.now = 150
        #expect(try scene.reads(scene.ann) == .replica)
    }

    /// A member who was told of a message over a socket finds it.
    @Test func aRoomIsReadWithEverythingThatWasWrittenInIt() throws {
        let scene = Scene()
        _ = try scene.reads(scene.ann)
        scene.primaryPosition.now = 200
        try scene.marks.record(Written(position: 150, users: [scene.ann], rooms: [scene.room]))
        #expect(try scene.reads(scene.bob, in: scene.room) == .primary)
        #expect(try scene.reads(scene.bob) == .replica)
    }

    @Test func aWriteOverRESTIsRememberedWithThePositionOfThePrimary() throws {
        let scene = Scene()
        _ = try scene.reads(scene.ann)
        scene.primaryPosition.now = 300
        try scene.readers.remember(writeOf: scene.ann)
        #expect(scene.marks.users[scene.ann] == 300)
        #expect(try scene.reads(scene.ann) == .primary)
    }

    @Test func marksThatMayBeLostMeanThatTheReplicaNeedsEverythingOfNow() throws {
        let scene = Scene()
        _ = try scene.reads(scene.ann)
        scene.primaryPosition.now = 200
        scene.marks.since = nil
        #expect(try scene.reads(scene.ann) == .primary)
        #expect(scene.marks.since == 200)
        scene.replicaPosition.now = 200
        #expect(try scene.reads(scene.ann) == .replica)
    }

    @Test func withoutTheMarksThePrimaryReads() throws {
        let scene = Scene()
        scene.marks.failure = BusError("away")
        #expect(try scene.reads(scene.ann) == .primary)
    }

    @Test func aReplicaTooFarBehindIsNotUsedByAnybody() throws {
        let scene = Scene(maxLag: 5000)
        _ = try scene.reads(scene.bob)
        // It stands still at 100.
        let from = try (1...10).map { _ in
            scene.primaryPosition.now += 10
            scene.now += 1000
            return try scene.reads(scene.bob)
        }
        #expect(from == Array(repeating: .replica, count: 5) + Array(repeating: .primary, count: 5))
        #expect(scene.lags.last == .some(nil))
        scene.replicaPosition.now = scene.primaryPosition.now
        scene.now += 1000
        #expect(try scene.reads(scene.bob) == .replica)
    }

    @Test func whatTheReplicaDoesNotHaveIsAskedOfThePrimary() throws {
        let scene = Scene()
        let found = try scene.readers.read(for: scene.ann) { (reader) throws(StoreError) -> Int? in
            reader === scene.replica ? nil : 7
        }
        #expect(found == 7)
    }

    /// libpq took the next host of the list, which is further behind.
    @Test func anAnswerOfAnotherServerThanTheOneThatWasAskedIsNotUsed() throws {
        let scene = Scene()
        _ = try scene.reads(scene.ann)
        let from = try scene.readers.read(for: scene.ann) { (reader) throws(StoreError) -> Readers.Choice in
            scene.replicaPosition.session = 2
            return reader === scene.replica ? .replica : .primary
        }
        #expect(from == .primary)
        scene.replicaPosition.now = 50
        scene.marks.since = 60
        #expect(try scene.reads(scene.ann) == .primary)
    }

    @Test func aReplicaThatFailedIsLeftAloneForAWhile() throws {
        let scene = Scene()
        _ = try scene.reads(scene.ann)
        var tries = 0
        let read = {
            try scene.readers.read(for: scene.ann) { (reader) throws(StoreError) -> Readers.Choice in
                guard reader === scene.replica else { return .primary }
                tries += 1
                throw away
            }
        }
        #expect(try read() == .primary && read() == .primary)
        #expect(tries == 1)
        #expect(scene.lags.last == .some(nil))
        scene.now += ReplicaState.pause.milliseconds
        #expect(try scene.reads(scene.ann) == .replica)
    }

    @Test func thePrimarysOwnReadsDoNotAskAnybody() throws {
        let scene = Scene()
        scene.marks.failure = BusError("away")
        scene.replicaPosition.failure = away
        var asked = 0
        scene.primaryPosition.asked = { asked += 1 }
        let from = try scene.readers.readNewest { (reader) throws(StoreError) in reader === scene.primary }
        #expect(from && asked == 0)
    }
}

@Suite struct ReplicaStateTests {
    @Test func theLagIsTheTimeSinceThePrimaryWasWhereTheReplicaIs() {
        var state = ReplicaState(maxLag: 3000)
        #expect(state.lag(at: 0) == nil && !state.isUsable(at: 0))
        state.looked(primary: 100, replica: 90, session: 1, at: 0)
        // Not known yet: it may be behind by any time.
        #expect(state.lag(at: 0) == nil)
        state.looked(primary: 200, replica: 100, session: 1, at: 1000)
        #expect(state.lag(at: 1000) == 1000)
        state.looked(primary: 300, replica: 299, session: 1, at: 2000)
        #expect(state.lag(at: 2000) == 1000)
        state.looked(primary: 300, replica: 300, session: 1, at: 3000)
        #expect(state.lag(at: 3000) == 0 && state.isUsable(at: 3000))
        state.looked(primary: 400, replica: 300, session: 1, at: 6000)
        #expect(state.lag(at: 6000) == 3000 && state.isUsable(at: 6000) && !state.isUsable(at: 6001))
    }

    /// A standby was promoted that lacks the end of the old primary's log.
    @Test func positionsOfAnEarlierPrimaryDoNotCount() {
        var state = ReplicaState(maxLag: 3000)
        state.looked(primary: 500, replica: 500, session: 1, at: 0)
        state.looked(primary: 400, replica: 350, session: 1, at: 1000)
        #expect(state.lag(at: 1000) == nil)
    }

    @Test func whatIsKnownOfOneConnectionSaysNothingOfTheNext() {
        var state = ReplicaState(maxLag: 3000)
        state.looked(primary: 100, replica: 100, session: 1, at: 0)
        #expect(state.has(100, session: 1) && !state.has(101, session: 1) && !state.has(100, session: 2))
    }
}
