import ChatCore
import Testing

@testable import ws_relay

/// Nothing newer may arrive between `welcome` and the client's `resume`.
@Suite struct HubHoldTests {
    private let relay: TestRelay
    private let client: TestClient

    init() throws {
        relay = try TestRelay(["WS_RESUME_GRACE_MS": "250"])
        client = relay.join(user: 1, rooms: [1: 7])
        _ = client.take()
    }

    private func answerFrames(through last: UInt64, signed: UInt64? = nil) {
        relay.answerFrames { _ in
            (1...last).map { .numbered($0, socket: $0 == signed ? 1 : nil, sign: $0 == signed ? "mine" : nil) }
        }
    }

    private func seqs() -> [Int64] { client.take().compactMap { $0["Seq"]?.int } }

    @Test func whatIsMissedComesBeforeWhatIsNew() {
        relay.publish(.numbered(8))
        #expect(seqs() == [])
        client.resume(from: 5)
        relay.run()
        relay.publish(.numbered(9))
        answerFrames(through: 9)
        #expect(seqs() == [6, 7, 8, 9])
        relay.publish(.numbered(10))
        #expect(seqs() == [10])
    }

    @Test func whoResumesNothingGetsItAllAfterAMoment() {
        relay.publish(.numbered(8))
        #expect(seqs() == [])
        relay.hub.beginTick(milliseconds: relay.milliseconds + 251, unixMilliseconds: relay.milliseconds)
        relay.hub.resumes.endHolds()
        relay.run()
        answerFrames(through: 8)
        #expect(seqs() == [8])
        relay.publish(.numbered(9))
        #expect(seqs() == [9])
    }

    @Test func aRequestEndsIt() {
        relay.publish(.numbered(8))
        client.ask(("Type", .string("ping")))
        relay.run()
        answerFrames(through: 8)
        #expect(seqs() == [8])
    }

    @Test func nothingIsFetchedWhenNothingHappened() {
        client.ask(("Type", .string("ping")))
        relay.run()
        #expect(relay.takeLookups().isEmpty)
        relay.publish(.numbered(8))
        #expect(seqs() == [8])
    }

    @Test func aHandoverDoesNotForgetWhatIsHeld() {
        relay.publish(.numbered(8))
        _ = relay.hub.export()
        #expect(relay.hub.table[id(1)]?.resumes.map(\.last) == [7])
    }

    /// Including the frame of leaving: otherwise the client would never learn of it.
    @Test(arguments: [false, true]) func whoLeavesMeanwhileGetsEverythingUpToThat(resumes: Bool) {
        if resumes {
            client.resume(from: 7)
            relay.publish(.numbered(8))
            client.resume(from: 7)
        }
        relay.publish(.numbered(8), .numbered(9, kind: .roomUpdated, left: [1]), .numbered(10))
        relay.run()
        answerFrames(through: 10)
        #expect(seqs() == [8, 9])
        #expect(relay.hub.table[id(1)] == nil)
    }

    @Test func whoIsBackBeforeThatFetchesWhatWasBefore() {
        relay.publish(.numbered(8), .numbered(9, kind: .roomUpdated, left: [1]), .numbered(10))
        relay.publish(.numbered(11, kind: .roomUpdated, joined: [1]), .numbered(12))
        answerFrames(through: 12)
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["resync", "room_updated", "new_message"])
        #expect(frames.compactMap { $0["Seq"]?.int } == [10, 11, 12])
    }

    @Test func whatWasSentDuringAResumeIsAnsweredInItsPlace() {
        client.resume(from: 6)
        client.ask(
            ("Type", .string("message")), ("RoomID", .string("\(id(1))")), ("Content", .string("x")),
            ("Sign", .string("mine")))
        relay.run()
        relay.publish(.numbered(8, socket: 1, sign: "mine"))
        answerFrames(through: 8, signed: 8)
        let frames = client.take()
        #expect(frames.compactMap { $0["Seq"]?.int } == [7, 8])
        // The answer to the resume follows it.
        let own = frames.first { $0["Seq"]?.int == 8 }
        #expect(own?["Type"]?.string == "response" && own?["Sign"]?.string == "mine")
    }
}

extension TestClient {
    func resume(from seq: Int64, room: UInt64 = 1) {
        let point = WireValue.map([.init("RoomID", .string("\(id(room))")), .init("Seq", .int(seq))])
        ask(("Type", .string("resume")), ("Rooms", .array([point])))
    }
}
