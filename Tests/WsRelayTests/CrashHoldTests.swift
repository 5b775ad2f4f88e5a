import ChatCore
import Testing

@testable import ws_relay

/// A relay dies while a fresh socket's frames are held.
@Suite struct CrashHoldTests {
    private static let grace = ["WS_RESUME_GRACE_MS": "250"]

    /// User 5 has been connected for a while and user 6 has just connected; both are in room 1 at Seq 1, which only one
    /// has received.
    private static func oldAndFresh() throws -> (TestRelay, old: TestClient, fresh: TestClient) {
        let relay = try TestRelay(grace)
        let old = relay.join(user: 5)
        endHolds(relay)
        let fresh = relay.join(user: 6)
        _ = (old.take(), fresh.take())
        relay.publish(.numbered(1))
        #expect(old.takeSeqs() == [1] && fresh.takeSeqs() == [])
        return (relay, old, fresh)
    }

    private static func endHolds(_ relay: TestRelay) {
        relay.milliseconds += 251
        relay.hub.beginTick(milliseconds: relay.milliseconds, unixMilliseconds: relay.milliseconds)
        relay.hub.resumes.endHolds()
        relay.run()
    }

    private static func answer(_ relay: TestRelay, through last: UInt64) {
        relay.answerFrames { room in room == id(1) ? (1...last).map { .numbered($0) } : [] }
    }

    private static func crash(_ old: TestRelay, lastSeq: UInt64) throws -> TestRelay {
        try CrashTests.crash(old, members: [5: [1], 6: [1]], lastSeq: lastSeq, grace)
    }

    @Test func whatItMissedComesWhenTheHoldIsOver() throws {
        let (relay, old, fresh) = try Self.oldAndFresh()
        let new = try Self.crash(relay, lastSeq: 3)
        new.publish(.numbered(4))
        Self.answer(new, through: 3)
        #expect(old.takeSeqs() == [2, 3, 4] && fresh.take().isEmpty)
        Self.endHolds(new)
        new.publish(.numbered(5))
        Self.answer(new, through: 5)
        #expect(old.takeSeqs() == [5] && fresh.takeSeqs() == [1, 2, 3, 4, 5])
        #expect(fresh.closed == nil && new.hub.sockets.slow.count == 0)
    }

    @Test func itCanSayWhereItWas() throws {
        let (relay, _, fresh) = try Self.oldAndFresh()
        let new = try Self.crash(relay, lastSeq: 2)
        Self.answer(new, through: 2)
        fresh.resume(from: 1)
        new.run()
        Self.answer(new, through: 2)
        // The answer to the resume has no Seq.
        #expect(fresh.takeSeqs() == [2, -1])
    }

    /// One socket of the flush is written, the other is held: it has no frame ahead.
    @Test func theFlushThatWasUnderWayIsNotItsOwn() throws {
        let (relay, old, fresh) = try Self.oldAndFresh()
        relay.hub.handle(
            .message(channel: "room:\(id(1))", payload: FrameChunk(room: id(1), frames: [.numbered(2)]).encode()))
        let number = relay.hub.memory.beginFlush()
        for slot in UInt32(0)...1 { relay.hub.sockets.connections.row(slot).pointee.flushed = number }
        let new = try Self.crash(relay, lastSeq: 2)
        Self.endHolds(new)
        Self.answer(new, through: 2)
        Self.answer(new, through: 2)
        #expect(old.takeSeqs() == [] && fresh.takeSeqs() == [1, 2])
    }

    /// User 6 joined room 1 after the crash, and gets nothing from before.
    @Test func whoCameSinceGetsNothingOfBefore() throws {
        let relay = try TestRelay(Self.grace)
        let old = relay.join(user: 5)
        Self.endHolds(relay)
        let fresh = relay.join(user: 6, rooms: [2: 0])
        relay.publish(.numbered(1))
        _ = (old.take(), fresh.take())
        let new = try Self.crash(relay, lastSeq: 3)
        new.answerFrames { room in
            room == id(1) ? [.numbered(1), .numbered(2, joined: [6]), .numbered(3)].filter { $0.seq > 1 } : []
        }
        Self.endHolds(new)
        Self.answer(new, through: 3)
        #expect(fresh.takeSeqs() == [2, 3] && old.takeSeqs() == [2, 3])
    }

    /// User 6 left room 1 after the crash, and must get everything up to then.
    @Test func whoLeftSinceGetsEverythingUpToThat() throws {
        let (relay, old, fresh) = try Self.oldAndFresh()
        let new = try CrashTests.crash(relay, members: [5: [1], 6: [2]], lastSeq: 3, Self.grace)
        let frames: [RoomFrame] = [.numbered(1), .numbered(2, left: [6]), .numbered(3)]
        for _ in 0..<2 { new.answerFrames { room in room == id(1) ? frames : [] } }
        #expect(old.takeSeqs() == [2, 3])
        #expect(fresh.take().filter { $0["Type"]?.string == "new_message" }.compactMap { $0["Seq"]?.int } == [1, 2])
    }

    @Test func whoIsInTheMiddleOfAFrameIsSentAway() throws {
        let (relay, old, fresh) = try Self.oldAndFresh()
        fresh.write(Array(ClientFrame.bytes(9, [1, 2, 3])[..<4]))
        relay.run()
        let new = try Self.crash(relay, lastSeq: 1)
        _ = (old.take(), fresh.take())
        #expect(fresh.closed?.code == 1001 && old.closed == nil && new.hub.sockets.connections.count == 1)
    }

    @Test func whatIsTooLongAgoIsNotGuessed() throws {
        let (relay, old, fresh) = try Self.oldAndFresh()
        for seq in UInt64(2)...2100 { relay.hub.memory.advance(relay.hub.table[id(1)]!.row, to: seq) }
        let new = try Self.crash(relay, lastSeq: 2100)
        _ = (old.take(), fresh.take())
        #expect(fresh.closed?.code == 1001 && old.closed == nil && new.hub.sockets.connections.count == 1)
    }
}
