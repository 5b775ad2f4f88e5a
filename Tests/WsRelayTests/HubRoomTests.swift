import ChatCore
import Testing

@testable import ws_relay

@Suite struct HubRoomTests {
    @Test func theAskerGetsTheResponseAndTheOthersTheFrame() throws {
        let relay = try TestRelay()
        let (asker, other) = (relay.join(user: 5), relay.join(user: 6))
        _ = (asker.take(), other.take())
        let serial = relay.hub.sockets.connections[0].serial
        relay.publish(.numbered(1, socket: serial, sign: "s1"))
        let (response, frame) = (asker.take(), other.take())
        #expect(response.map { $0["Type"]?.string } == ["response"])
        #expect(response[0]["Sign"]?.string == "s1" && response[0]["Seq"]?.int == 1)
        #expect(response[0]["Error"]?.string == "" && response[0]["Success"]?.bool == true)
        #expect(frame.map { $0["Type"]?.string } == ["new_message"] && frame[0]["Sign"] == nil)
        #expect(response[0]["Data"] == frame[0]["Data"])
    }

    @Test func membersComeAndGoWithTheirFrames() throws {
        let relay = try TestRelay()
        let (first, second) = (relay.join(user: 5), relay.join(user: 6, rooms: [:]))
        _ = (first.take(), second.take())
        relay.publish(.numbered(1), .numbered(2, kind: .roomUpdated, joined: [6]), .numbered(3))
        #expect(second.takeSeqs() == [2, 3])
        relay.publish(.numbered(4, kind: .roomUpdated, left: [6]), .numbered(5))
        #expect(second.takeSeqs() == [4])
        #expect(first.takeSeqs() == [1, 2, 3, 4, 5])
    }

    @Test func aGapIsFetchedAndNothingOvertakes() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        relay.publish(.numbered(3))
        relay.publish(.numbered(4))
        #expect(client.take().isEmpty)
        #expect(relay.lookups.asked == [.frames(room: id(1), after: 0, atLeast: 2, limit: 1024, .room(2))])
        relay.answerFrames { _ in (1...4).map { .numbered($0) } }
        #expect(client.takeSeqs() == [1, 2, 3, 4])
        #expect(relay.takeLookups().isEmpty)
    }

    @Test func aFetchThatFailsIsRepeatedLater() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        relay.publish(.numbered(2))
        for lookup in relay.takeLookups() { relay.hub.handle(.failed(lookup)) }
        #expect(relay.takeLookups().isEmpty)
        relay.pass(seconds: 2)
        relay.answerFrames { _ in [.numbered(1)] }
        #expect(client.takeSeqs() == [1, 2])
    }

    /// PostgreSQL returns the frame first, with the user but without the socket; the channel repeats it later.
    @Test func theAskerGetsItsResponseAlsoWhenTheFrameWasHealedBefore() throws {
        let relay = try TestRelay()
        let (asker, otherDevice) = (relay.join(user: 5), relay.greet(user: 5))
        _ = (asker.take(), otherDevice.take())
        asker.ask(
            ("Type", .string("message")), ("RoomID", .string(id(1).description)), ("Content", .string("hi")),
            ("Sign", .string("s")))
        relay.run()
        relay.publish(.numbered(2))
        var healed = RoomFrame.numbered(1, sign: "s")
        healed.asker = id(5)
        relay.answerFrames { _ in [healed] }
        #expect(asker.takeTypes() == ["response", "new_message"])
        #expect(otherDevice.takeTypes() == ["new_message", "new_message"])
        relay.publish(.numbered(1, socket: relay.hub.sockets.connections[0].serial, sign: "s"))
        #expect(asker.take().isEmpty)
    }

    @Test func afterALossEveryRoomIsClosedUpAgain() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        relay.hub.handle(.lost)
        relay.hub.handle(.restored)
        let asked = relay.takeLookups()
        relay.lookups.asked = asked
        relay.answerFrames { _ in [.numbered(1), .numbered(2)] }
        for case .memberships(let user, let epoch) in asked {
            relay.hub.handle(
                .memberships(
                    of: user, epoch: epoch,
                    [1, 2].map { Membership(user: user, room: id($0), lastSeq: $0 == 1 ? 4 : 9) }))
        }
        relay.run()
        // The room that was joined meanwhile must be fetched over REST; 3 and 4 are stored and were never published.
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["new_message", "new_message", "resync"])
        relay.pass(seconds: 2)
        relay.answerFrames { $0 == id(1) ? (1...4).map { .numbered($0) } : [] }
        #expect(client.takeSeqs() == [3, 4])
    }

    @Test func aChannelThatWasLostAloneIsClosedUpAlone() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 0, 2: 0])
        _ = client.take()
        relay.hub.handle(.regained(channel: "room:\(id(1))"))
        #expect(relay.lookups.asked.count == 1)
        relay.answerFrames { $0 == id(1) ? [.numbered(1), .numbered(2)] : [] }
        #expect(client.takeSeqs() == [1, 2])
        relay.hub.handle(.regained(channel: "user:\(id(5))"))
        let asked = relay.takeLookups()
        guard asked.count == 1, case .memberships(let user, _) = asked[0] else {
            Issue.record("\(asked)")
            return
        }
        #expect(user == id(5))
        // Of nobody here.
        relay.hub.handle(.regained(channel: "room:\(id(9))"))
        relay.hub.handle(.regained(channel: "user:\(id(9))"))
        relay.hub.handle(.regained(channel: "relay:7"))
        #expect(relay.takeLookups().isEmpty)
    }

    /// A cluster's node with the user's channel may be slower than that of the room.
    @Test func theSecondMemberWhoHearsLateOfACreationMissesNothing() throws {
        let relay = try TestRelay()
        let (first, second) = (relay.join(user: 5, rooms: [:]), relay.join(user: 6, rooms: [:]))
        _ = (first.take(), second.take())
        let created = FrameBody(room: id(1), seq: 0) { $0.string("created") }
        let event = UserEvent.joined(room: id(1), seq: 0, created: created).encode()
        relay.hub.handle(.message(channel: "user:\(id(5))", payload: event))
        relay.hub.handle(.subscribed(channel: "room:\(id(1))"))
        relay.answerFrames { _ in [.numbered(1)] }
        relay.hub.handle(.message(channel: "user:\(id(6))", payload: event))
        relay.publish(.numbered(2))
        relay.answerFrames { _ in [.numbered(1), .numbered(2)] }
        relay.publish(.numbered(3))
        #expect(first.takeSeqs() == [0, 1, 2, 3])
        #expect(second.takeSeqs() == [0, 1, 2, 3])
    }

    @Test func aNewRoomBeginsWithItsCreation() throws {
        let relay = try TestRelay()
        let (first, second) = (relay.join(user: 5, rooms: [:]), relay.join(user: 6, rooms: [:]))
        _ = (first.take(), second.take())
        let created = FrameBody(room: id(1), seq: 0) { $0.string("created") }
        for user in [5, 6, 6] as [UInt64] {
            let event = UserEvent.joined(room: id(1), seq: 0, created: created)
            relay.hub.handle(.message(channel: "user:\(id(user))", payload: event.encode()))
        }
        relay.hub.handle(.subscribed(channel: "room:\(id(1))"))
        relay.answerFrames { _ in [.numbered(1)] }
        relay.publish(.numbered(1), .numbered(2))
        #expect(first.takeSeqs() == [0, 1, 2])
        #expect(second.takeSeqs() == [0, 1, 2])
    }

    @Test func whoJoinsAnUntrackedRoomGetsTheFrameOfTheJoining() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [:])
        _ = client.take()
        let event = UserEvent.joined(room: id(1), seq: 8, created: nil)
        relay.hub.handle(.message(channel: "user:\(id(5))", payload: event.encode()))
        relay.hub.handle(.subscribed(channel: "room:\(id(1))"))
        relay.answerFrames { _ in [.numbered(9, kind: .roomUpdated, joined: [5])] }
        #expect(client.takeSeqs() == [9])
    }

    /// The list of memberships was read before the user was removed, and arrives after the frame of the removal.
    @Test func anOldListBringsNobodyBack() throws {
        let relay = try TestRelay()
        let other = relay.join(user: 6)
        let client = relay.greet(user: 5)
        relay.hub.handle(.subscribed(channel: "user:\(id(5))"))
        relay.publish(.numbered(1, kind: .roomUpdated, left: [5]))
        for case .memberships(let user, let epoch) in relay.takeLookups() {
            relay.hub.handle(
                .memberships(of: user, epoch: epoch, [Membership(user: user, room: id(1), lastSeq: 0)]))
        }
        relay.run()
        #expect(client.takeTypes() == ["welcome"])
        relay.publish(.numbered(2))
        #expect(client.take().isEmpty)
        #expect(other.takeSeqs() == [-1, 1, 2])
    }

    @Test func typingGoesToTheOthersOnly() throws {
        let relay = try TestRelay()
        let (first, second) = (relay.join(user: 5), relay.join(user: 6))
        _ = (first.take(), second.take())
        first.ask(("Type", .string("typing")), ("RoomID", .string(id(1).description)))
        relay.run()
        let frame = try #require(relay.ephemerals.frames.first)
        relay.publish(frame)
        #expect(first.take().isEmpty)
        #expect(second.takeTypes() == ["typing"])
        first.ask(("Type", .string("typing")), ("RoomID", .string(id(2).description)))
        relay.run()
        #expect(first.take()[0]["Error"]?.string?.hasPrefix("not_a_member:") == true)
    }

    @Test func whoIsBlockedIsNotSeenTyping() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        func isSeenTyping(after areBlocked: Bool) -> Bool {
            relay.ephemerals.frames = []
            let event = UserEvent.blocked(room: id(1), areBlocked)
            relay.hub.handle(.message(channel: "user:\(id(5))", payload: event.encode()))
            client.ask(("Type", .string("typing")), ("RoomID", .string(id(1).description)))
            relay.run()
            return !relay.ephemerals.frames.isEmpty
        }
        #expect(!isSeenTyping(after: true))
        #expect(isSeenTyping(after: false))
    }
}

@Suite struct HubResumeTests {
    @Test func whatIsNewerWaitsForWhatIsMissed() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 10])
        let other = relay.join(user: 6, rooms: [1: 10])
        _ = (client.take(), other.take())
        client.resume(from: 7)
        relay.run()
        relay.publish(.numbered(11))
        #expect(client.take().isEmpty)
        #expect(other.takeSeqs() == [11])
        // The answer was read before 11; the rest is fetched.
        relay.answerFrames { _ in (1...10).map { .numbered($0) } }
        #expect(client.takeSeqs() == [8, 9, 10])
        relay.publish(.numbered(12))
        relay.answerFrames { _ in (1...12).map { .numbered($0) } }
        relay.publish(.numbered(13))
        // The answer to the resume has no Seq.
        #expect(client.takeSeqs() == [11, 12, -1, 13])
        #expect(other.takeSeqs() == [12, 13])
        #expect(relay.hub.table[id(1)]?.resumes.isEmpty == true)
    }

    @Test func whatIsTooOldIsFetchedOverREST() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 5000])
        _ = client.take()
        client.resume(from: 7)
        client.resume(from: 5000)
        client.resume(from: 9000)
        client.resume(from: 0, room: 3)
        relay.run()
        let frames = client.take()
        #expect(
            frames.map { $0["Type"]?.string } == [
                "resync", "response", "response", "resync", "response", "response", "response",
            ])
        #expect(frames[0]["Data"]?["Seq"]?.int == 5000 && frames[3]["Data"]?["Seq"]?.int == 5000)
        let rooms = [1, 2, 4, 6].map { frames[$0]["Data"]?["Rooms"]?.array?.first ?? .null }
        #expect(rooms.map { $0["Resync"]?.bool } == [true, nil, true, nil])
        #expect(rooms.map { $0["Seq"]?.int } == [5000, 5000, 5000, 0])
        #expect(frames[5]["Error"]?.string?.hasPrefix("not_a_member:") == true)
        #expect(rooms[3]["Error"]?.string?.hasPrefix("not_a_member:") == true)
        relay.publish(.numbered(5001))
        #expect(client.takeSeqs() == [5001])
    }

    @Test func aFailedResumeEndsInAResync() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 5])
        _ = client.take()
        client.resume(from: 1)
        relay.run()
        for lookup in relay.takeLookups() { relay.hub.handle(.failed(lookup)) }
        relay.publish(.numbered(6))
        #expect(client.takeTypes() == ["resync", "response", "new_message"])
    }
}
