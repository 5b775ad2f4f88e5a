import ChatCore
import Testing

@testable import ChatAdapters

@Suite struct ClusterSlotTests {
    @Test(arguments: [
        ("123456789", 0x31C3), ("foo", 12_182), ("bar", 5061), ("hello", 866), ("", 0),
        // Only the first tag counts, and an empty one does not.
        ("{user1000}.following", 3443), ("{user1000}.followers", 3443), ("foo{bar}{zap}", 5061), ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015), ("foo{bar", 15_278),
    ])
    func aNameHasTheSlotThatRedisGivesIt(_ name: String, _ slot: Int) {
        #expect(ClusterSlot.of(Array(name.utf8)) == slot)
    }

    @Test func aRoomsLogIsOnTheNodeOfItsChannel() {
        for number in 0..<100 {
            let room = UUID128.v7(at: Int64(number))
            let key = RedisKey.roomLog(room, inCluster: true)
            #expect(ClusterMap.slot(of: key) == ClusterMap.slot(of: BusChannel.room(room)))
            for lock in [UploadLock.state, .writer] {
                let key = RedisKey.uploadLock(lock, room, inCluster: true)
                #expect(ClusterMap.slot(of: key) == ClusterMap.slot(of: RedisKey.uploadFence(of: room)))
            }
        }
    }

    @Test func aSingleRedisKeepsItsNames() {
        let id = UUID128.v7(at: 1)
        #expect(RedisKey.roomLog(id, inCluster: false) == "room:\(id):log")
        #expect(RedisKey.uploadLock(.state, id, inCluster: false) == "upload:\(id):lock")
        let written = Written(position: 7, users: [id], rooms: [id])
        let words = RedisWriteMarks.words(written, lifetime: .seconds(1), inCluster: false)
        #expect(words.count == 1 && words[0][3...4] == ["written:user:\(id)", "written:room:\(id)"].words[...])
    }

    @Test func marksOfOneCommandHaveOneSlot() {
        let users = (0..<300).map { UUID128.v7(at: Int64($0)) }
        let written = Written(position: 7, users: Set(users), rooms: Set(users))
        let commands = RedisWriteMarks.words(written, lifetime: .seconds(1), inCluster: true)
        #expect(commands.count > 100 && commands.count <= 256)
        #expect(commands.reduce(0) { $0 + $1.count - 5 } == 600)
        for words in commands { #expect(Set(words[3..<words.count - 2].map { ClusterSlot.of($0) }).count == 1) }
    }
}

@Suite struct ClusterMapTests {
    private let asked = ServerURL.Host("seed", 1)

    private func node(_ name: String, _ port: Int64) -> RedisValue {
        .array([.bytes(Array(name.utf8)), .int(port), .bytes([]), .array([])])
    }

    @Test func theAnswerOfANodeIsRead() throws {
        let map = try #require(
            ClusterMap(
                .array([
                    .array([.int(0), .int(99), node("a", 7), node("replica", 8)]),
                    .array([.int(100), .int(100), node("", 9)]), .array([.int(102), .int(16_383), node("::1", 7)]),
                ]), from: asked))
        #expect(map[0] == ServerURL.Host("a", 7) && map[99] == map[0])
        #expect(map[100] == ServerURL.Host("seed", 9) && map[101] == nil && map[16_383] == ServerURL.Host("::1", 7))
        #expect(map.nodes.count == 3)
    }

    @Test(arguments: [
        RedisValue.null, .array([.null]), .array([.array([.int(0), .int(16_384), .null])]),
        .array([.array([.int(5), .int(4), .array([.bytes([65]), .int(7)])])]),
        .array([.array([.int(-1), .int(4), .array([.bytes([65]), .int(7)])])]),
        .array([.array([.int(0), .int(4), .array([.bytes([65]), .int(70_000)])])]),
    ])
    func whatIsNoMap(_ answer: RedisValue) { #expect(ClusterMap(answer, from: asked) == nil) }

    @Test func moreNodesThanAClusterHasAreRefused() {
        let ranges = (0..<1001).map { RedisValue.array([.int($0), .int($0), node("n\($0)", 7)]) }
        #expect(ClusterMap(.array(ranges), from: asked) == nil)
    }

    @Test func refusalsAreRead() {
        #expect(ClusterRefusal("MOVED 12 h:7", from: asked) == .moved(slot: 12, to: ServerURL.Host("h", 7)))
        #expect(ClusterRefusal("MOVED 12 ::1:7", from: asked) == .moved(slot: 12, to: ServerURL.Host("::1", 7)))
        #expect(ClusterRefusal("ASK 12 :7", from: asked) == .ask(ServerURL.Host("seed", 7)))
        #expect(ClusterRefusal("TRYAGAIN Multiple keys request", from: asked) == .tryAgain)
        for text in [
            "", "ERR x", "MOVED", "MOVED 16384 h:7", "MOVED -1 h:7", "MOVED 1 h", "MOVED 1 h:0", "MOVED 1 h:65536",
            "MOVED 99999999999999999999 h:7", "ASK 1", "MOVED 1 h:7 x",
        ] {
            #expect(ClusterRefusal(text, from: asked) == nil)
        }
    }
}

@Suite struct ClusterErrandTests {
    private let a = ServerURL.Host("a", 1), b = ServerURL.Host("b", 1)
    private let ok = RedisValue.status("OK")

    /// Node a has the slots below 8192: foo (12182) is b's, bar (5061) and hello (866) are a's.
    private func halves() -> ClusterMap {
        var map = ClusterMap()
        for slot in 0..<16_384 { map.moved(slot, to: slot < 8192 ? a : b) }
        return map
    }

    private func words(_ texts: String...) -> [[RedisWord]] {
        texts.map { $0.split(separator: " ").map { RedisWord(word: String($0)) } }
    }

    @Test func eachNodeGetsItsCommandsInTheirOrder() throws {
        var map = halves()
        var errand = ClusterErrand(words("SET foo 1", "SET bar 1", "PUBLISH foo x", "EVAL s 1 hello", "PING"))
        let steps = try errand.steps(map)
        #expect(steps.map(\.host) == [b, a])
        #expect(steps.map { $0.steps.map(\.index) } == [[0, 2], [1, 3, 4]])
        #expect(errand.commands[2] == words("SPUBLISH foo x")[0])
        errand.take([.int(0), .int(2)], to: steps[0].steps, from: b, &map)
        errand.take([.int(1), .int(3), .int(4)], to: steps[1].steps, from: a, &map)
        errand.endRound()
        #expect(errand.isDone && errand.results == [.int(0), .int(1), .int(2), .int(3), .int(4)])
    }

    @Test func manyKeysAreReadOneByOne() throws {
        var map = halves()
        var errand = ClusterErrand(words("MGET foo bar", "GET foo", "MGET foo"))
        let steps = try errand.steps(map)
        #expect(errand.commands == words("GET foo", "GET bar", "GET foo", "MGET foo"))
        for (host, some) in steps { errand.take(some.map { .int(Int64($0.index)) }, to: some, from: host, &map) }
        errand.endRound()
        #expect(errand.results == [.array([.int(0), .int(1)]), .int(2), .int(3)])
    }

    @Test func aMovedSlotIsFollowedAndTheMapIsOutOfDate() throws {
        var map = halves()
        var errand = ClusterErrand(words("SET foo 1", "SET bar 1"))
        let steps = try errand.steps(map)
        errand.take([.error("MOVED 12182 c:3")], to: steps[0].steps, from: b, &map)
        errand.take([ok], to: steps[1].steps, from: a, &map)
        errand.endRound()
        #expect(!errand.isDone && errand.hasMoved)
        let again = try errand.steps(map)
        #expect(again.map(\.host) == [ServerURL.Host("c", 3)] && again[0].steps == [.init(index: 0, asking: false)])
    }

    @Test func aKeyThatHasMovedAheadOfItsSlotIsAskedForOnce() throws {
        var map = halves()
        var errand = ClusterErrand(words("GET foo"))
        errand.take([.error("ASK 12182 c:3")], to: try errand.steps(map)[0].steps, from: b, &map)
        errand.endRound()
        let detour = try errand.steps(map)[0]
        #expect(detour.host == ServerURL.Host("c", 3) && detour.steps == [.init(index: 0, asking: true)])
        // The map stays: other keys of the slot are still there.
        #expect(map == halves() && !errand.hasMoved)
        errand.take([.error("MOVED 12182 b:1")], to: detour.steps, from: detour.host, &map)
        #expect(try errand.steps(map)[0].host == b)
    }

    @Test func nodesThatSendACommandToAndFroAreLeftInTime() throws {
        var map = halves()
        var errand = ClusterErrand(words("GET foo"))
        var (rounds, pauses) = (0, 0)
        #expect(throws: RedisError.self) {
            while rounds < 1000 {
                let steps = try errand.steps(map)[0]
                errand.take(
                    [.error("MOVED 12182 \(steps.host == b ? "a" : "b"):1")], to: steps.steps, from: steps.host, &map)
                errand.endRound()
                rounds += 1
                if errand.mustWait { pauses += 1 }
            }
        }
        #expect(rounds == 16 && pauses == 14)
    }

    @Test func keysOnTwoNodesAreWaitedFor() throws {
        var map = halves()
        var errand = ClusterErrand(words("EVAL s 2 foo foo"))
        var rounds = 0
        #expect(throws: RedisError.self) {
            while rounds < 1000 {
                errand.take([.error("TRYAGAIN x")], to: try errand.steps(map)[0].steps, from: b, &map)
                errand.endRound()
                #expect(errand.mustWait)
                rounds += 1
            }
        }
        #expect(rounds == 41)
    }

    @Test func aSlotThatNobodyServesIsAnErrorOfTheConnection() {
        var errand = ClusterErrand(words("GET foo"))
        let error = #expect(throws: RedisError.self) { try errand.steps(ClusterMap()) }
        #expect(error?.isConnection == true)
    }
}
