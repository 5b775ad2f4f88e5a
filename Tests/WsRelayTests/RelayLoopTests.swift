import ChatCore
import Glibc
import Testing

@testable import ws_relay

@Suite struct RelayLoopTests {
    // MARK: A tick

    @Test func itIsReadyAndAcceptsOnceRedisHasAnswered() throws {
        let scene = try LoopScene()
        scene.redis.isAway = true
        let client = scene.connect()
        scene.ticks(3)
        #expect(scene.place.timesReady == 0 && scene.hub.sockets.connections.count == 0)
        scene.redis.isAway = false
        scene.now += 5000
        scene.ticks(4)
        #expect(scene.place.timesReady == 1 && scene.hub.sockets.connections.count == 1)
        // It says so once.
        scene.redis.isBroken = true
        scene.ticks(5)
        #expect(scene.redis.timesConnected == 2 && scene.place.timesReady == 1)
        withExtendedLifetime(client) {}
    }

    /// Nothing stays in memory while the loop waits: neither bytes for clients nor subscriptions.
    @Test func whatATickGatheredIsWrittenBeforeTheNextWait() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        _ = client.take()
        scene.redis.arriving = [scene.event(.numbered(1)), scene.event(.numbered(2))]
        var seen: [[Int64]] = []
        var unsent: [Bool] = []
        scene.beforeWait = {
            seen.append(client.takeSeqs())
            unsent.append(scene.redis.wantsWrite)
        }
        let writes = scene.hub.sockets.written.sends
        scene.ticks(2)
        #expect(seen == [[], [1, 2]])
        #expect(scene.hub.sockets.written.sends == writes + 1)
        let other = scene.join(user: 6, rooms: [2: 0])
        #expect(other.frames.count > 0)
        #expect(!unsent.contains(true))
        scene.beforeWait = {}
    }

    @Test func oneTickAcceptsAtMost64() throws {
        let scene = try LoopScene.serving()
        let clients = (0..<100).map { _ in scene.connect() }
        scene.ticks(1)
        #expect(scene.hub.sockets.connections.count == 64)
        scene.ticks(1)
        #expect(scene.hub.sockets.connections.count == 100)
        withExtendedLifetime(clients) {}
    }

    /// Also of what reaches no client: the budget of deliveries alone would never be used up.
    @Test func aFloodOfTheFeedEndsNoTicksTurn() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        _ = client.take()
        scene.redis.flood = (scene.event(.numbered(1, room: 9), room: 9), reads: 5000)
        client.ask(("Type", .string("ping")), ("Sign", .string("s")))
        let before = scene.redis.timesRead
        scene.ticks(2)
        #expect(scene.redis.timesRead - before == 2 * 1024)
        #expect(client.takeTypes() == ["pong"])
    }

    @Test func withoutDescriptorsItAcceptsAgainInTheNextSecond() throws {
        let scene = try LoopScene.serving()
        scene.acceptError = EMFILE
        let client = scene.connect()
        scene.ticks(2)
        scene.acceptError = nil
        scene.ticks(3)
        #expect(scene.hub.sockets.connections.count == 0)
        scene.pass(seconds: 1)
        #expect(scene.hub.sockets.connections.count == 1)
        withExtendedLifetime(client) {}
    }

    /// A client that is gone before it is accepted says nothing about descriptors.
    @Test func anotherFailureToAcceptPausesNothing() throws {
        let scene = try LoopScene.serving()
        scene.acceptError = ECONNABORTED
        let client = scene.connect()
        scene.ticks(2)
        scene.acceptError = nil
        scene.ticks(1)
        #expect(scene.hub.sockets.connections.count == 1)
        withExtendedLifetime(client) {}
    }

    @Test func theLoopWaitsUntilTheNextHalfSecondAndShorterWithoutAFeed() throws {
        let scene = try LoopScene.serving()
        scene.now = 1_000_120
        scene.ticks(1)
        #expect(scene.waits.last == 380)
        scene.redis.isAway = true
        scene.redis.isBroken = true
        scene.ticks(2)
        #expect(scene.waits.last == 100)
    }

    @Test func revocationsAreAskedForTwiceASecondAndTheRestOnce() throws {
        let scene = try LoopScene.serving()
        scene.pass(seconds: 1)
        scene.lookups.asked = []
        scene.ephemerals.beats = 0
        scene.pass(seconds: 3)
        let asked = scene.lookups.asked.count { if case .revocations = $0 { true } else { false } }
        #expect(asked == 6)
        #expect(scene.ephemerals.beats == 3)
    }

    @Test func aLostFeedIsWatchedAgainByItsNewDescriptor() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        _ = client.take()
        scene.redis.isBroken = true
        scene.ticks(4)
        // The room catches up: nothing was missed.
        for case .frames(let room, let after, _, _, let purpose) in scene.lookups.asked {
            _ = scene.answers.put(
                .frames(room: room, after: after, FrameRun(frames: [], through: after, newest: after), purpose))
        }
        scene.ticks(2)
        scene.redis.arriving = [scene.event(.numbered(1))]
        scene.ticks(2)
        #expect(scene.redis.timesConnected == 2)
        #expect(client.takeSeqs() == [1])
    }

    // MARK: The end

    @Test func anEndingRelayAcceptsNobodyAndTellsEachClient() throws {
        let scene = try LoopScene.serving(["WS_DRAIN_SECONDS": "0"])
        let client = scene.join(user: 5)
        scene.place.say(.quit)
        scene.ticks(1)
        let late = scene.connect()
        scene.ticks(3)
        client.read()
        #expect(client.closed?.code == CloseCode.goingAway.rawValue)
        #expect(scene.hub.sockets.connections.count == 1 && !scene.loop.isOver)
        // It goes.
        shutdown(client.descriptor, Int32(SHUT_RDWR))
        scene.ticks(3)
        #expect(scene.hub.sockets.connections.count == 0 && scene.loop.isOver)
        // The kernel holds it for another worker.
        late.read()
        #expect(!late.hasEnded)
    }

    @Test func anEndingRelayWithoutClientsEndsAtOnceButNotBeforeItsCommands() throws {
        let scene = try LoopScene.serving()
        scene.outlets.isIdle = false
        scene.place.say(.quit)
        scene.ticks(2)
        #expect(!scene.loop.isOver)
        scene.outlets.isIdle = true
        #expect(scene.loop.isOver)
    }

    /// A client that reads nothing, and a broker that confirms nothing.
    @Test func anEndHasALimit() throws {
        for (isIdle, seconds) in [(true, 7), (false, 13)] {
            let scene = try LoopScene.serving()
            let client = scene.join(user: 5)
            scene.outlets.isIdle = isIdle
            let begun = scene.now
            scene.place.say(.quit)
            scene.ticks(1)
            if !isIdle { scene.pass(seconds: seconds - 1) }
            #expect(!scene.loop.isOver)
            scene.pass(seconds: seconds + 2)
            #expect(scene.loop.isOver && scene.now <= begun + Int64(seconds) * 1000 + 500)
            withExtendedLifetime(client) {}
        }
    }

    @Test func closesAreSpreadOverTheDrain() throws {
        let scene = try LoopScene.serving(["WS_DRAIN_SECONDS": "4"])
        let clients = (0..<8).map { scene.join(user: UInt64(5 + $0)) }
        scene.place.say(.quit)
        scene.ticks(1)
        var told: [Int] = []
        for _ in 0..<4 {
            scene.pass(seconds: 1)
            clients.forEach { $0.read() }
            told.append(clients.count { $0.closed != nil })
        }
        #expect(told == [2, 4, 6, 8])
    }

    // MARK: Hand-over

    @Test func afterAHandOverThisRelayServesNobody() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        _ = client.take()
        let successor = scene.beginHandover()
        try scene.takeOver(successor)
        #expect(scene.hub.sockets.connections.count == 0)
        client.read()
        #expect(!client.hasEnded && client.closed == nil)
        #expect(successor.tags().last == .released)
        // New clients are the successor's; the feed is closed for good; nobody asks for revocations.
        let late = scene.connect()
        scene.lookups.asked = []
        scene.pass(seconds: 3)
        #expect(scene.hub.sockets.connections.count == 0)
        #expect(scene.redis.fileDescriptor == -1 && scene.redis.timesConnected == 1)
        #expect(scene.lookups.asked.isEmpty)
        #expect(!scene.loop.isOver)
        late.read()
        #expect(!late.hasEnded)
        scene.place.say(.quit)
        scene.ticks(2)
        #expect(scene.loop.isOver && scene.exits.isEmpty)
    }

    /// The sockets of the last commands are the successor's by then.
    @Test func refusalsAfterAHandOverGoThroughTheRelaysOwnChannel() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        let serial = scene.hub.sockets.connections[0].serial
        let successor = scene.beginHandover()
        try scene.takeOver(successor)
        scene.outlets.published = []
        let refusal = Refusal(.busy, "full")
        _ = scene.answers.put(.refused([UnsentCommand(socket: serial, sign: "s")], refusal))
        scene.ticks(1)
        let answer = try #require(scene.outlets.published.first)
        #expect(answer.socket == serial && scene.outlets.published.count == 1)
        let frame = try MessagePackReader.decode(answer.frame)
        #expect(frame["Sign"]?.string == "s" && frame["Success"]?.bool == false)
        withExtendedLifetime((client, successor)) {}
    }

    @Test func aSuccessorThatDiesFirstChangesNothing() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        _ = client.take()
        var successor: HandoffChannel? = scene.beginHandover()
        try successor?.send(.init(tag: .hello, bytes: HandoffChannel.version))
        scene.ticks(1)
        successor = nil
        scene.ticks(1)
        scene.place.say(.handoverCancelled)
        scene.ticks(2)
        client.ask(("Type", .string("ping")))
        scene.ticks(2)
        #expect(client.takeTypes() == ["pong"])
        #expect(scene.exits.isEmpty)
        // The next one takes over.
        let next = scene.beginHandover()
        try scene.takeOver(next)
        #expect(next.tags().last == .released)
    }

    /// The sockets are with its file keeper then: the next worker takes them from there.
    @Test func aSuccessorThatDiesAfterwardsEndsThisRelay() throws {
        let scene = try LoopScene.serving()
        let successor = scene.beginHandover()
        try scene.takeOver(successor)
        #expect(scene.exits.isEmpty)
        scene.place.say(.handoverCancelled)
        scene.ticks(1)
        #expect(scene.exits == [1])
    }

    // MARK: Without a master

    @Test func anOrphanServesUntilAnotherMastersWorkerTakesOver() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        _ = client.take()
        let (successor, theirs) = scene.line()
        scene.place.say(.orphaned(theirs))
        scene.ticks(1)
        client.ask(("Type", .string("ping")))
        scene.ticks(2)
        #expect(client.takeTypes() == ["pong"] && !scene.loop.isOver)
        try scene.takeOver(successor)
        #expect(successor.tags().last == .released)
        #expect(scene.loop.isOver && client.closed == nil)
        withExtendedLifetime(client) {}
    }

    @Test func anOrphanThatNobodyTakesOverEndsInTime() throws {
        let scene = try LoopScene.serving(["WS_DRAIN_SECONDS": "0"])
        let client = scene.join(user: 5)
        let (successor, theirs) = scene.line()
        scene.place.say(.orphaned(theirs))
        scene.ticks(1)
        scene.pass(seconds: 15)
        client.read()
        #expect(client.closed == nil)
        scene.pass(seconds: 1)
        client.read()
        #expect(client.closed?.code == CloseCode.goingAway.rawValue)
        withExtendedLifetime(successor) {}
    }

    /// Without a master there is no second try: the next worker adopts the descriptors of this process.
    @Test func anOrphanWhoseSuccessorDiesGivesWay() throws {
        let scene = try LoopScene.serving()
        var (successor, theirs): (HandoffChannel?, Int32) = scene.line()
        scene.place.say(.orphaned(theirs))
        scene.ticks(1)
        try successor?.send(.init(tag: .hello, bytes: HandoffChannel.version))
        scene.ticks(1)
        successor = nil
        scene.ticks(1)
        #expect(scene.exits == [1])
    }
}
