import ChatCore
import TestSupport
import Testing

@testable import ChatAdapters

/// Users whose description changed, and the rooms that are told of it.
@Suite struct RoomsOfUsersTests {
    private final class Users: RoomsToTell {
        var rooms: [UUID128: [UUID128]] = [:]
        var asked: [UUID128] = []
        var bounds: (rooms: Int64, members: Int32)?
        var failure: StoreError?

        func told(of user: UUID128, rooms most: Int64, members: Int32) throws(StoreError) -> (Profile, [UUID128])? {
            asked.append(user)
            bounds = (most, members)
            if let failure { throw failure }
            return rooms[user].map { (Profile(name: "Ann"), $0) }
        }
    }

    private final class Redis: RedisCommands {
        var counts: [String: Int64] = [:]
        var lifetimes: [String] = []
        var published: [(channel: String, payload: [UInt8])] = []

        func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue { try pipeline([words])[0] }

        func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue] {
            commands.map { words in
                let texts = words.map { String(decoding: $0, as: UTF8.self) }
                switch texts[0] {
                case "INCR":
                    counts[texts[1], default: 0] += 1
                    return .int(counts[texts[1]]!)
                case "PEXPIRE": lifetimes.append(texts[2])
                case "PUBLISH": published.append((texts[1], words[2]))
                default: Issue.record("\(texts[0])")
                }
                return .int(1)
            }
        }
    }

    /// Unix milliseconds.
    private final class Time: @unchecked Sendable { var now: Int64 = 1_000_000_000 }

    private final class Scene {
        let users = Users()
        let redis = Redis()
        let memory = MemoryLog()
        let time = Time()
        var suppressed = 0
        private(set) var news: RoomsOfUsers!

        init() { news = worker() }

        /// Each process has one.
        func worker() -> RoomsOfUsers {
            RoomsOfUsers(
                users, redis, clock: { [time] in time.now }, log: memory.log,
                suppressed: { [unowned self] in suppressed += 1 })
        }
    }

    private func user(_ number: UInt64) -> UUID128 { UUID128(high: 1, low: number) }
    private func room(_ number: UInt64) -> UUID128 { UUID128(high: 2, low: number) }

    @Test func eachRoomGetsOneFrameOutsideOfItsOrder() throws {
        let scene = Scene()
        scene.users.rooms[user(1)] = [room(1), room(2)]
        scene.news.tell([user(1)])
        #expect(scene.redis.published.map(\.channel) == [BusChannel.room(room(1)), BusChannel.room(room(2))])
        let chunk = try FrameChunk.decode(scene.redis.published[1].payload)
        #expect(chunk.room == room(2) && chunk.frames.map(\.seq) == [0])
        #expect(chunk.frames.first?.kind == .userUpdated)
        #expect(scene.suppressed == 0)
    }

    @Test func aUserWithoutRoomsOrRowIsToldToNobody() {
        let scene = Scene()
        scene.users.rooms[user(1)] = []
        scene.news.tell([user(1), user(2)])
        #expect(scene.users.asked == [user(1), user(2)])
        #expect(scene.redis.published.isEmpty && scene.memory.lines.isEmpty)
    }

    @Test func aUserWhoChangesAllTheTimeIsToldFiveTimesInFiveSeconds() {
        let scene = Scene()
        scene.users.rooms[user(1)] = [room(1)]
        // Two processes count together.
        let other = scene.worker()
        for _ in 0..<4 {
            scene.news.tell([user(1)])
            other.tell([user(1)])
        }
        #expect(scene.redis.published.count == 5 && scene.suppressed == 3)
        #expect(scene.users.asked.count == 5)
        scene.time.now += 5000
        scene.news.tell([user(1)])
        #expect(scene.redis.published.count == 6)
        #expect(Set(scene.redis.lifetimes) == ["5000"])
    }

    @Test func aChangeOfEverybodyAtOnceIsToldOfTwentyUsersASecond() {
        let scene = Scene()
        let all = (1...100).map(user)
        for one in all { scene.users.rooms[one] = [room(1)] }
        scene.news.tell(all)
        #expect(scene.redis.published.count == 20 && scene.suppressed == 80)
        scene.time.now += 1000
        scene.news.tell([user(101), user(1)])
        #expect(scene.redis.published.count == 21)
    }

    @Test func largeRoomsAndManyRoomsAreLeftOut() {
        let scene = Scene()
        scene.news.tell([user(1)])
        #expect(scene.users.bounds! == (100, 100))
    }

    @Test func anOutageIsLoggedAndCostsOneTryForAll() {
        let scene = Scene()
        scene.users.failure = StoreError("away", isTransient: true)
        scene.news.tell([user(1), user(2), user(3)])
        #expect(scene.users.asked == [user(1)])
        #expect(scene.memory.lines.count == 1)
    }
}
