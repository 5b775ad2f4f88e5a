import ChatAdapters
import ChatCore
import TestSupport
import Testing

@testable import ws_relay

@Suite struct EphemeralsTests {
    /// Redis: hashes, and what was published.
    private final class Redis: RedisCommands {
        var hashes: [String: [String: String]] = [:]
        var published: [(channel: String, payload: [UInt8])] = []
        /// Every other command.
        var others: [String] = []
        var isAway = false

        func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue { try pipeline([words])[0] }

        func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue] {
            guard !isAway else { throw RedisError(description: "away", isConnection: true) }
            return commands.map { run($0) }
        }

        private func run(_ words: [RedisWord]) -> RedisValue {
            let texts = words.map { String(decoding: $0, as: UTF8.self) }
            switch texts[0] {
            case "HSET": hashes[texts[1], default: [:]][texts[2]] = texts[3]
            case "HDEL": hashes[texts[1]]?[texts[2]] = nil
            case "HGETALL":
                return .array((hashes[texts[1]] ?? [:]).flatMap { [.bytes(Array($0.utf8)), .bytes(Array($1.utf8))] })
            case "PUBLISH": published.append((texts[1], words[2]))
            default: others.append(texts.joined(separator: " "))
            }
            return .int(1)
        }
    }

    private let redis = Redis()
    private let ann = id(1)
    private let room = id(9)

    private func relay(_ number: UInt64) -> Ephemerals.Publishing {
        Ephemerals.Publishing(redis, relay: number, trailLength: 10)
    }

    private func presence(_ isOnline: Bool, at time: Int64) -> Ephemerals.Item {
        .presence(Presence(user: ann, isOnline: isOnline, rooms: [room], at: time))
    }

    private var key: String { RedisKey.presence(ann) }

    @Test func comingAndGoingIsToldToTheRooms() throws {
        try relay(1).send([presence(true, at: 1000)])
        #expect(redis.published.map(\.channel) == [BusChannel.room(room)])
        #expect(redis.hashes[key] == ["1": "\(1000 + Ephemerals.lease.milliseconds)"])
        try relay(1).send([presence(false, at: 2000)])
        #expect(redis.published.count == 2)
        #expect(redis.hashes[key] == ["seen": "2000"])
    }

    @Test func aUserWithSocketsOfAnotherRelayNeitherComesNorGoes() throws {
        try relay(1).send([presence(true, at: 1000)])
        try relay(2).send([presence(true, at: 1500)])
        try relay(1).send([presence(false, at: 2000)])
        #expect(redis.published.count == 1)
        #expect(redis.hashes[key]?["2"] != nil)
        try relay(2).send([presence(false, at: 3000)])
        #expect(redis.published.count == 2)
    }

    /// It had no time to take its field away.
    @Test func aDeadRelayDoesNotKeepAUserOnline() throws {
        try relay(1).send([presence(true, at: 1000)])
        let later = 1000 + Ephemerals.lease.milliseconds
        try relay(2).send([presence(true, at: later)])
        #expect(redis.published.count == 2)
        // One that lives renews its field.
        try relay(1).send([.renewal([ann], at: later)])
        try relay(2).send([presence(false, at: later + 1)])
        #expect(redis.published.count == 2)
    }

    @Test func framesReachTheirRoomsInOrder() throws {
        let mark = PresenceMark(userID: ann, isOnline: true, lastSeenAt: 1)
        let rooms = [id(7), id(8), id(7)]
        try relay(1).send(rooms.map { .frame(RoomFrame(mark, in: $0), room: $0) })
        #expect(redis.published.map(\.channel) == rooms.map { BusChannel.room($0) })
        let chunk = try FrameChunk.decode(redis.published[1].payload)
        #expect(chunk.room == id(8) && chunk.frames.count == 1)
    }

    @Test func anAnswerReachesItsRelay() throws {
        let answer = RelayAnswer(socket: 5, frame: [1, 2])
        try relay(1).send([.answer(answer, relay: 3)])
        #expect(redis.published.map(\.channel) == [BusChannel.relay(3)])
        #expect(redis.published.first?.payload == answer.encode())
    }

    @Test func theHostHearsOfUsersWhereItWantsTo() throws {
        let relay = Ephemerals.Publishing(redis, relay: 1, trailLength: 10, hooks: [.presence, .connect])
        try relay.send([presence(true, at: 5), .connect(ann, at: 6), presence(false, at: 7)])
        let start = "XADD \(RedisKey.userNews) MAXLEN ~ 10000 * u \(ann) k"
        #expect(
            redis.others.filter { $0.hasPrefix("XADD") } == [
                "\(start) online t 5", "\(start) connected t 6", "\(start) offline t 7",
            ])
        try self.relay(1).send([presence(true, at: 8)])
        #expect(redis.others.count { $0.hasPrefix("XADD") } == 3)
    }

    @Test func signsOfLifeExpire() throws {
        try relay(1).send([.life(ann, at: 77), .beat])
        #expect(
            redis.others == [
                "SET \(RedisKey.alive(ann)) 77 EX 900",
                "SET \(RedisKey.beat(1)) 1 PX \(RedisKey.beatLifetime.milliseconds)",
            ])
    }

    /// A relay without this thread would drop typing and presence, and count nobody's requests, for ever.
    @Test func aWrongAddressEndsTheStart() {
        #expect(throws: RedisError.self) {
            try Ephemerals(
                redisURL: "nonsense", relayID: 1, trailLength: 0, limits: Settings.test().rates,
                answers: BoundedInbox<Found>(limit: 1), log: MemoryLog().log)
        }
    }

    @Test func anOutageIsAnErrorAndNothingIsHalfTold() {
        redis.isAway = true
        #expect(throws: RedisError.self) { try relay(1).send([presence(true, at: 1)]) }
        #expect(redis.published.isEmpty)
    }
}
