import ChatCore
import Testing

@testable import ws_relay

@Suite struct HubResumeBoundTests {
    private func resume(_ client: TestClient, rooms: ClosedRange<UInt64>, sign: String) {
        let points = rooms.map { room -> WireValue in
            .map([.init("RoomID", .string(id(room).description)), .init("Seq", .int(1))])
        }
        client.ask(("Type", .string("resume")), ("Sign", .string(sign)), ("Rooms", .array(points)))
    }

    private func framesAsked(_ relay: TestRelay) -> [(room: UUID128, socket: UInt64)] {
        relay.lookups.asked.compactMap {
            if case .frames(let room, _, _, _, .socket(let handle)) = $0 { (room, handle) } else { nil }
        }
    }

    @Test func itIsAnsweredBehindEverything() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 3, 2: 2])
        _ = client.take()
        resume(client, rooms: 1...2, sign: "again")
        relay.run()
        for _ in 0..<3 { relay.answerFrames { room in (1...3).map { .numbered($0, room: room == id(1) ? 1 : 2) } } }
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["new_message", "new_message", "new_message", "response"])
        #expect(frames.last?["Sign"]?.string == "again" && frames.last?["Success"]?.bool == true)
        let seqs = frames.last?["Data"]?["Rooms"]?.array?.compactMap { $0["Seq"]?.int } ?? []
        #expect(seqs.sorted() == [2, 3])
        // An empty resume is answered too.
        client.ask(("Type", .string("resume")), ("Rooms", .array([])))
        relay.run()
        #expect(client.take().map { $0["Data"]?["Rooms"]?.array?.count } == [0])
    }

    @Test func anotherEpochIsFetchedOverREST() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 3])
        _ = client.take()
        func answers(to epoch: Int64) -> [String?] {
            let point = WireValue.map([
                .init("RoomID", .string(id(1).description)), .init("Seq", .int(3)), .init("Epoch", .int(epoch)),
            ])
            client.ask(("Type", .string("resume")), ("Rooms", .array([point])))
            relay.run()
            return client.take().map { $0["Type"]?.string }
        }
        #expect(answers(to: 1) == ["response"])
        #expect(answers(to: 2) == ["resync", "response"])
        // History was lost: everybody is told.
        relay.hub.users.ask(relay.hub.users.index(id(5))!)
        for case .memberships(let asked, let number) in relay.takeLookups() {
            relay.hub.handle(
                .memberships(
                    of: asked, epoch: number, [Membership(user: asked, room: id(1), lastSeq: 3, epoch: 2)]))
        }
        relay.run()
        let told = client.take()
        #expect(told.map { $0["Type"]?.string } == ["resync"] && told[0]["Data"]?["Epoch"]?.int == 2)
        #expect(answers(to: 2) == ["response"])
    }

    /// A second `resume` from an earlier place gets everything from there, whether the first one's page is under way,
    /// has come, or was not asked for yet.
    @Test(arguments: [0, 1, 2]) func oneFromAnEarlierPlaceIsHonoured(pages: Int) throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 900])
        _ = client.take()
        func ask(_ seqs: [Int64], _ sign: String) {
            let points = seqs.map {
                WireValue.map([.init("RoomID", .string(id(1).description)), .init("Seq", .int($0))])
            }
            client.ask(("Type", .string("resume")), ("Sign", .string(sign)), ("Rooms", .array(points)))
        }
        var frames: [WireValue] = []
        func answerPage() {
            for case .frames(let room, let after, _, _, let purpose) in relay.takeLookups() {
                let page = (after + 1...min(after + 50, 900)).map { RoomFrame.numbered($0) }
                relay.hub.handle(
                    .frames(
                        room: room, after: after, FrameRun(frames: page, through: page.last!.seq, newest: 900), purpose)
                )
            }
            relay.run()
            frames += client.take()
        }
        ask([500], "first")
        if pages > 0 { relay.run() }
        for _ in 1..<max(1, pages) { answerPage() }
        ask([100, 600, 99], "second")
        relay.run()
        for _ in 0..<40 { answerPage() }
        let types = frames.map { $0["Type"]?.string }
        let ends = types.indices.filter { types[$0] == "response" }
        #expect(ends.count == 2 && ends.allSatisfy { frames[$0]["Data"]?["Rooms"]?.array?.first?["Seq"]?.int == 900 })
        // The last run of frames is whole, and in order.
        let seqs = frames[..<(ends.first ?? 0)].compactMap { $0["Seq"]?.int }
        let begin = seqs.lastIndex(of: 100) ?? 0
        #expect(Array(seqs[begin...]) == Array(100...900))
        #expect(relay.hub.resumes.isIdle && relay.hub.resumes.hasAnswered)
    }

    /// One look-up per socket, a bounded number in total; the rest wait for their turn.
    @Test func lookUpsTakeTurns() throws {
        let relay = try TestRelay()
        let rooms = Dictionary(uniqueKeysWithValues: (1...50).map { (UInt64($0), UInt64(9)) })
        let clients = (1...100).map { relay.join(user: UInt64($0), rooms: rooms) }
        _ = relay.takeLookups()
        // The welcome.
        for client in clients { _ = client.take() }
        for client in clients { resume(client, rooms: 1...50, sign: "r") }
        relay.run()
        #expect(framesAsked(relay).count == ResumeQueue.window)
        #expect(Set(framesAsked(relay).map(\.socket)).count == ResumeQueue.window)
        var answered = 0
        while !relay.lookups.asked.isEmpty {
            answered += framesAsked(relay).count
            #expect(framesAsked(relay).count <= ResumeQueue.window)
            relay.answerFrames { room in (1...9).map { .numbered($0, room: room.low & 0xFF) } }
        }
        #expect(answered == 5000 && relay.hub.resumes.isIdle && relay.hub.resumes.hasAnswered)
        for client in clients {
            let frames = client.take()
            #expect(frames.count == 50 * 8 + 1 && frames.last?["Type"]?.string == "response")
        }
    }

    @Test func aSocketThatDoesNotReadGetsNoFurtherPage() throws {
        let relay = try TestRelay(["WS_OUTBOX_BYTES": "1000000"])
        let client = relay.connect(sendBuffer: 4096)
        client.upgrade(token: "\(id(5))%201000000", subprotocol: nil, early: [])
        relay.run()
        relay.finishJoining(user: 5, rooms: [1: 90])
        _ = client.take()
        resume(client, rooms: 1...1, sign: "r")
        relay.run()
        func answerOne() {
            for case .frames(let room, let after, _, _, let purpose) in relay.takeLookups() {
                let page = (after + 1...after + 3).map { RoomFrame.numbered($0, padding: 15_000) }
                relay.hub.handle(
                    .frames(room: room, after: after, FrameRun(frames: page, through: after + 3, newest: 90), purpose))
            }
            relay.run()
        }
        answerOne()
        #expect(framesAsked(relay).isEmpty && relay.hub.resumes.out == 0)
        relay.run()
        #expect(framesAsked(relay).isEmpty)
        var seqs: [Int64] = []
        for _ in 0..<3000 where seqs.count < 89 {
            seqs += client.takeSeqs().filter { $0 > 0 }
            relay.run()
            answerOne()
        }
        #expect(seqs == Array(2...90).map(Int64.init))
    }

    @Test func aResumeCountsItsRooms() throws {
        let relay = try TestRelay(["WS_RATE": "100", "WS_BURST": "300"])
        let client = relay.join(user: 5)
        _ = client.take()
        for _ in 0..<3 { resume(client, rooms: 100...250, sign: "r") }
        relay.run()
        let frames = client.take()
        let refused = frames.filter { $0["Error"]?.string?.hasPrefix("rate_limited:") == true }
        #expect(refused.count == 2 && refused.allSatisfy { $0["RetryAfter"]?.int == 1000 })
        // Any size is allowed when nothing else was requested lately.
        relay.pass(seconds: 10)
        resume(client, rooms: 100...900, sign: "r")
        relay.run()
        #expect(client.take().last?["Success"]?.bool == true)
    }

    @Test func itsSocketsEndTakesAllOfItAway() throws {
        let relay = try TestRelay()
        let rooms = Dictionary(uniqueKeysWithValues: (1...50).map { (UInt64($0), UInt64(9)) })
        var client: TestClient? = relay.join(user: 5, rooms: rooms)
        let other = relay.join(user: 6, rooms: rooms)
        resume(client!, rooms: 1...50, sign: "r")
        relay.run()
        client = nil
        relay.run()
        relay.answerFrames { _ in [] }
        #expect(relay.hub.resumes.isIdle && relay.hub.resumes.hasAnswered)
        #expect(relay.hub.table.all.allSatisfy { $0.resumes.isEmpty })
        withExtendedLifetime(other) {}
    }
}

@Suite struct HubTypingTests {
    private func type(_ client: TestClient, _ relay: TestRelay, times: Int = 1) {
        for _ in 0..<times { client.ask(("Type", .string("typing")), ("RoomID", .string(id(1).description))) }
        relay.run()
    }

    @Test func oneASecondIsTold() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        type(client, relay, times: 50)
        #expect(relay.ephemerals.frames.count == 1 && relay.hub.requests.counters.typingDropped == 49)
        relay.pass(seconds: 1)
        type(client, relay)
        #expect(relay.ephemerals.frames.count == 2)
    }

    @Test func oneUserInManyRoomsLeavesTypingToOthers() throws {
        let relay = try TestRelay()
        let rooms = Dictionary(uniqueKeysWithValues: (1...3000).map { (UInt64($0), UInt64(0)) })
        let clients = [relay.join(user: 5, rooms: rooms), relay.join(user: 5, rooms: rooms)]
        let quiet = relay.join(user: 6, rooms: [1: 0])
        for client in clients {
            for room in 1...200 {
                client.ask(("Type", .string("typing")), ("RoomID", .string(id(UInt64(room)).description)))
            }
        }
        relay.run()
        #expect(relay.ephemerals.frames.count == 10)
        type(quiet, relay)
        #expect(relay.ephemerals.frames.count == 11)
        relay.pass(seconds: 1)
        type(clients[0], relay)
        #expect(relay.ephemerals.frames.count == 12)
    }

    @Test func whoMayNotPostDoesNotType() throws {
        let relay = try TestRelay()
        let client = relay.greet(user: 5)
        relay.hub.handle(.subscribed(channel: "user:\(id(5))"))
        func answer(mayPost: Bool) {
            for case .memberships(let asked, let epoch) in relay.takeLookups() {
                let membership = Membership(user: asked, room: id(1), lastSeq: 0, mayPost: mayPost)
                relay.hub.handle(.memberships(of: asked, epoch: epoch, [membership]))
            }
        }
        answer(mayPost: false)
        relay.hub.handle(.subscribed(channel: "room:\(id(1))"))
        relay.answerFrames { _ in [] }
        type(client, relay)
        #expect(relay.ephemerals.frames.filter { $0.kind == .typing }.isEmpty)
        // A changed role or mute is read again.
        let body = FrameBody(room: id(1), seq: 1) { writer in
            writer.value(
                .map([
                    .init("Change", .string("role")),
                    .init("Member", .map([.init("UserID", .string(id(5).description))])),
                ]))
        }
        relay.publish(RoomFrame(seq: 1, kind: .roomUpdated, body: body))
        relay.pass(seconds: 1)
        answer(mayPost: true)
        type(client, relay)
        #expect(relay.ephemerals.frames.filter { $0.kind == .typing }.count == 1)
    }

    @Test func aLookUpOfAMessageIsCountedBeforeItIsAsked() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        relay.hub.handle(.tooMany(.sends, id(5), milliseconds: 2500))
        client.ask(("Type", .string("delete")), ("MessageID", .string(id(77).description)))
        relay.run()
        #expect(relay.lookups.asked.isEmpty)
        #expect(client.take().first?["Error"]?.string?.hasPrefix("rate_limited:") == true)
    }
}
