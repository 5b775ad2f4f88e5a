import ChatCore
import Glibc
import Testing

@testable import ws_relay

@Suite struct EventCursorTests {
    @Test func isReadAsItWasWritten() {
        var cursor = EventCursor()
        #expect(EventCursor(id: String(decoding: cursor.id, as: UTF8.self)) == cursor)
        for (room, seq) in [(1, 0), (2, 127), (3, 128), (4, 1 << 32), (5, 1 << 40 - 1)] as [(UInt64, UInt64)] {
            cursor.set(id(room), seq)
            let read = EventCursor(id: String(decoding: cursor.id, as: UTF8.self))
            #expect(read == cursor && read?[id(room)] == seq)
        }
        cursor.set(id(2), 5, epoch: 255)
        #expect(cursor[id(2)] == 5 && cursor.place(id(2))?.epoch == 255 && cursor[id(9)] == nil)
        #expect(EventCursor(id: String(decoding: cursor.id, as: UTF8.self)) == cursor)
        #expect(EventCursor(id: String(decoding: cursor.id, as: UTF8.self))?.places == cursor.places)
    }

    @Test func whatDoesNotFitIsNotNamed() {
        var cursor = EventCursor()
        for room in 1...UInt64(3) { cursor.set(id(room), room) }
        cursor.set(id(2), 1 << 40)
        cursor.set(id(3), 3, epoch: 256)
        cursor.set(id(4), UInt64(Int64.max), epoch: .max)
        #expect(cursor == EventCursor(places: [.init(id(1), 1, epoch: 1)]) && cursor.places.count == 1)
        cursor.set(id(2), 9)
        #expect(EventCursor(id: String(decoding: cursor.id, as: UTF8.self))?[id(2)] == 9)
    }

    @Test func aFullOneNamesNoOther() {
        var cursor = EventCursor()
        for room in 1...UInt64(EventCursor.maxRooms) { cursor.set(id(room), room) }
        cursor.set(id(1), 7)
        cursor.set(id(9999), 1)
        #expect(cursor.places.count == EventCursor.maxRooms && cursor[id(9999)] == nil)
        #expect(cursor[id(1)] == 7 && cursor[id(2)] == 2)
        #expect(cursor.id.count == EventCursor.maxBytes)
        #expect(EventCursor(id: String(decoding: cursor.id, as: UTF8.self)) == cursor)
        cursor.keep(only: [EventCursor.key(id(5)), EventCursor.key(id(256))])
        #expect(cursor == EventCursor(places: [.init(id(5), 5, epoch: 1), .init(id(256), 256, epoch: 1)]))
    }

    @Test func whatNoRelayMadeIsNone() {
        var cursor = EventCursor()
        cursor.set(id(1), 300)
        let good = String(decoding: cursor.id, as: UTF8.self)
        let twice = String(decoding: cursor.id + cursor.id.dropFirst(2), as: UTF8.self)
        let cut = String(decoding: EventCursor.version + base64URL([0, 0, 0, 0, 0, 1, 5]), as: UTF8.self)
        let long = "1." + String(repeating: "A", count: EventCursor.maxBytes)
        let endless =
            "1."
            + String(decoding: base64URL([0, 0, 0, 0, 0, 1] + Array(repeating: 0xFF, count: 12)), as: UTF8.self)
        for bad in [
            "", "1", "2.", "x", "1.=", "1.é", "\(good)=", "\(good)A", String(good.dropLast()), cut, twice, long,
            endless,
            "0",
        ] {
            #expect(EventCursor(id: bad) == nil, "\(bad.prefix(40))")
        }
    }

    @Test func base64HasOneSpelling() {
        for length in 0...9 {
            let bytes = (0..<length).map { UInt8($0 * 37 & 0xFF) }
            #expect(base64URLDecoded(base64URL(bytes)) == bytes)
        }
        #expect(base64URLDecoded("AB".utf8) == nil && base64URLDecoded("A".utf8) == nil)
        #expect(base64URLDecoded("+/".utf8) == nil)
    }
}

@Suite struct EventsRequestTests {
    private static func visitor(
        _ target: String = "/api/v1/events?token=t", method: String = "GET", origins: [String] = [],
        with more: [String] = []
    ) -> Visitor {
        let text = (["\(method) \(target) HTTP/1.1", "Host: h.example"] + more + ["", ""]).joined(separator: "\r\n")
        return Visitor(Array(text.utf8), origins: OriginRule(origins))
    }

    private static func request(_ visitor: Visitor) -> EventsRequest? {
        if case .client(.events(let request)) = visitor { request } else { nil }
    }

    private static func refusal(_ visitor: Visitor) -> HTTPRefusal? {
        if case .refused(let refusal) = visitor { refusal } else { nil }
    }

    @Test func takesTheTokenFromEachPlace() {
        #expect(Self.request(Self.visitor())?.credential == .token("t"))
        #expect(Self.request(Self.visitor("/events?ticket=k"))?.credential == .ticket("k"))
        #expect(Self.request(Self.visitor("/events", with: ["Authorization: bearer  h"]))?.credential == .token("h"))
        #expect(
            Self.request(Self.visitor("/events", with: ["Cookie: a=b; chat_session=c.d=; x=y"]))?.credential
                == .token("c.d="))
        #expect(
            Self.request(Self.visitor("/events?token=q", with: ["Cookie: chat_session=c"]))?.credential == .token("q"))
        for more in [[], ["Authorization: Basic x"], ["Authorization: Bearer "], ["Cookie: chat_sessions=c"]] {
            #expect(Self.refusal(Self.visitor("/events", with: more)) == .unauthorized)
        }
    }

    @Test func aCookieIsForPagesOfTheHostAlone() {
        let cookie = "Cookie: chat_session=c"
        #expect(Self.request(Self.visitor("/events", with: [cookie, "Origin: https://h.example"])) != nil)
        #expect(
            Self.refusal(Self.visitor("/events", with: [cookie, "Origin: https://other.example"])) == .forbiddenOrigin)
        #expect(
            Self.refusal(
                Self.visitor("/events", origins: ["https://o.example"], with: [cookie, "Origin: https://o.example"]))
                == .forbiddenOrigin)
        let other = Self.visitor(origins: ["https://o.example"], with: ["Origin: https://o.example"])
        #expect(Self.request(other)?.headers.contains("Access-Control-Allow-Origin: https://o.example") == true)
        #expect(
            Self.refusal(Self.visitor(origins: ["https://o.example"], with: ["Origin: https://p.example"]))
                == .forbiddenOrigin)
    }

    @Test func aPageOfAnotherOriginMayAskFirst() {
        let asks = ["Origin: https://o.example", "Access-Control-Request-Method: GET"]
        guard case .preflight(let bytes) = Self.visitor("/events", method: "OPTIONS", with: asks) else {
            Issue.record("no preflight")
            return
        }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 204 ") && text.hasSuffix("\r\n\r\n"))
        #expect(text.contains("Access-Control-Allow-Origin: https://o.example\r\n"))
        #expect(text.contains("Access-Control-Allow-Headers: Authorization, Last-Event-ID"))
        let elsewhere = Self.visitor("/events", method: "OPTIONS", origins: ["https://p.example"], with: asks)
        #expect(Self.refusal(elsewhere) == .forbiddenOrigin)
        #expect(Self.refusal(Self.visitor("/events", method: "OPTIONS")) == .methodNotAllowed)
    }

    @Test func parametersAreChecked() {
        #expect(Self.request(Self.visitor("/events?token=t&wait=60"))?.wait == 60)
        for wait in ["0", "61", "-1", "", "1.5", "\u{661}", "99999999999999999999"] {
            let refusal = Self.refusal(Self.visitor("/events?token=t&wait=\(wait == "\u{661}" ? "%D9%A1" : wait)"))
            #expect(refusal == .invalid(field: "wait", "is a number of seconds from 1 to 60"), "\(wait)")
        }
        for (query, field) in [
            ("tokem=t", "tokem"), ("token=t&wait=1&wait=2", "wait"), ("token=t&last_event_id=x", "last_event_id"),
        ] {
            guard case .invalid(field, _)? = Self.refusal(Self.visitor("/events?\(query)")) else {
                Issue.record("\(query) is taken")
                continue
            }
        }
        #expect(
            Self.refusal(Self.visitor(with: ["Last-Event-ID: 17"]))
                == .invalid(field: "Last-Event-ID", "is not an event's id"))
        #expect(Self.refusal(Self.visitor(method: "POST")) == .methodNotAllowed)
        #expect(Self.refusal(Self.visitor(with: ["Content-Length: 3"])) != nil)
        #expect(Self.refusal(Self.visitor(with: ["Transfer-Encoding: chunked"])) != nil)
        let body = String(decoding: HTTPRefusal.invalid(field: "a\"b", "no").answer(requestID: "r"), as: UTF8.self)
        #expect(
            body.hasSuffix(
                #"{"Success":false,"Error":{"Code":"malformed","Message":"a\"b: no","Field":"a\"b"},"RequestID":"r"}"#))
    }

    @Test func theHeaderIsNewerThanTheAddress() {
        var (old, new) = (EventCursor(), EventCursor())
        old.set(id(1), 1)
        new.set(id(1), 2)
        let address = "/events?token=t&last_event_id=\(String(decoding: old.id, as: UTF8.self))"
        #expect(Self.request(Self.visitor(address))?.cursor == old)
        let header = "Last-Event-ID: \(String(decoding: new.id, as: UTF8.self))"
        #expect(Self.request(Self.visitor(address, with: [header]))?.cursor == new)
    }
}

@Suite struct EventStreamTests {
    private static let log = (1...UInt64(2000)).map { RoomFrame.numbered($0) }

    @Test func tellsWhatASocketIsTold() throws {
        let relay = try TestRelay()
        let reader = relay.joinEvents(user: 5, rooms: [1: 3])
        #expect(reader.takeTypes() == ["welcome"])
        #expect(reader.head.hasPrefix("HTTP/1.1 200") && reader.head.contains("text/event-stream"))
        #expect(EventCursor(id: reader.lastID)?[id(1)] == 3)
        relay.publish(.numbered(4), .numbered(5))
        relay.publish(RoomFrame(seq: 0, kind: .typing, asker: id(9), body: FrameBody(room: id(1)) { $0.null() }))
        let frames = reader.take()
        #expect(frames.map { $0["Type"]?.string } == ["new_message", "new_message", "typing"])
        #expect(frames[1]["RoomID"]?.string == id(1).description)
        #expect(EventCursor(id: reader.lastID)?[id(1)] == 5)
    }

    @Test func goesOnWhereItWas() throws {
        let relay = try TestRelay()
        let other = relay.join(user: 6, rooms: [1: 3, 2: 0])
        var reader = relay.joinEvents(user: 5, rooms: [1: 3, 2: 0])
        relay.publish(.numbered(4))
        _ = reader.take()
        let place = reader.lastID
        // Twice, so that each can be asked for.
        for _ in 0..<2 {
            reader = relay.connectReader(lastID: place)
            reader.request(user: 5)
            relay.run()
            relay.finishJoining(user: 5, rooms: [1: 3, 2: 0])
            #expect(reader.takeTypes() == ["welcome", "response"])
        }
        relay.publish(.numbered(5), .numbered(6))
        relay.publish(.numbered(1, room: 2), room: 2)
        #expect(reader.takeSeqs() == [5, 6, 1])
        let last = relay.connectReader(lastID: place)
        last.request(user: 5)
        relay.run()
        // A room at a time.
        for _ in 0..<2 { relay.answerFrames { $0 == id(1) ? Array(Self.log[..<6]) : [.numbered(1, room: 2)] } }
        #expect(last.take().compactMap { $0["Seq"]?.int }.sorted() == [1, 5, 6])
        #expect(EventCursor(id: last.lastID)?[id(1)] == 6 && EventCursor(id: last.lastID)?[id(2)] == 1)
        withExtendedLifetime(other) {}
    }

    @Test func aRoomOfWhichNothingIsKnownIsFetched() throws {
        let relay = try TestRelay()
        var cursor = EventCursor()
        cursor.set(id(1), 3)
        cursor.set(id(77), 9)
        let reader = relay.joinEvents(user: 5, rooms: [1: 3, 2: 8], lastID: String(decoding: cursor.id, as: UTF8.self))
        let frames = reader.take()
        #expect(frames.map { $0["Type"]?.string } == ["welcome", "resync", "response"])
        #expect(frames[1]["RoomID"]?.string == id(2).description && frames[1]["Seq"]?.int == 8)
        let place = EventCursor(id: reader.lastID)
        #expect(place?[id(1)] == 3 && place?[id(2)] == 8 && place?[id(77)] == nil)
    }

    /// An empty id of a user with thousands of rooms made the relay write as many events in one tick.
    @Test(arguments: [40, 300] as [UInt64]) func manyRoomsOfWhichNothingIsKnownAreOneEvent(rooms: UInt64) throws {
        let relay = try TestRelay()
        let last = Dictionary(uniqueKeysWithValues: (1...rooms).map { ($0, UInt64(3)) })
        let reader = relay.joinEvents(user: 5, rooms: last, lastID: "1.")
        let frames = reader.take()
        #expect(frames.map { $0["Type"]?.string } == ["welcome"])
        #expect(frames.first?["Data"]?["Resumed"]?.bool == false)
        relay.publish(.numbered(4))
        #expect(reader.takeSeqs() == [4])
        // The place of 40 rooms; none of 300, which takes back one that the page may have.
        #expect(EventCursor(id: reader.lastID)?.places.count == (rooms == 40 ? 40 : nil))
        #expect(rooms == 40 || reader.lastID.isEmpty)
    }

    @Test func aUserWithMoreRoomsThanAnIDNamesHasNoPolls() throws {
        let relay = try TestRelay()
        let last = Dictionary(uniqueKeysWithValues: (1...UInt64(300)).map { ($0, UInt64(3)) })
        for id in ["1.", ""] {
            let poll = relay.joinEvents(user: 5, rooms: last, lastID: id, wait: 30)
            #expect(
                poll.takeAnswer()?["Error"]?["Code"]?.string == "too_many_rooms" && poll.head.hasPrefix("HTTP/1.1 409"))
        }
    }

    @Test func aPlaceInLostHistoryIsFetched() throws {
        let relay = try TestRelay()
        var cursor = EventCursor()
        cursor.set(id(1), 3, epoch: 2)
        let reader = relay.joinEvents(user: 5, rooms: [1: 8], lastID: String(decoding: cursor.id, as: UTF8.self))
        let frames = reader.take()
        #expect(frames.map { $0["Type"]?.string } == ["welcome", "resync", "response"])
        #expect(EventCursor(id: reader.lastID)?.place(id(1))?.epoch == 1)
    }

    @Test func theOldestSocketMakesRoomWhateverItsKind() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "2"])
        let first = relay.joinEvents(user: 5)
        let second = relay.join(user: 5)
        let third = relay.joinEvents(user: 5)
        #expect(first.take().last?["Data"]?["Code"]?.int == 4009)
        #expect(third.takeTypes() == ["welcome"])
        withExtendedLifetime(second) {}
    }

    @Test func tooFarBackIsFetched() throws {
        let relay = try TestRelay()
        var cursor = EventCursor()
        cursor.set(id(1), 3)
        let reader = relay.joinEvents(user: 5, rooms: [1: 1500], lastID: String(decoding: cursor.id, as: UTF8.self))
        #expect(reader.takeTypes() == ["welcome", "resync", "response"])
        #expect(EventCursor(id: reader.lastID)?[id(1)] == 1500)
        // So is what is beyond the end: another history.
        cursor.set(id(1), 9000)
        let ahead = relay.joinEvents(user: 5, rooms: [1: 1500], lastID: String(decoding: cursor.id, as: UTF8.self))
        #expect(ahead.takeTypes() == ["welcome", "resync", "response"])
        relay.publish(.numbered(1501))
        #expect(ahead.takeSeqs() == [1501])
    }

    @Test func whatAnotherRelayToldIsNotToldAgain() throws {
        let relay = try TestRelay()
        var cursor = EventCursor()
        cursor.set(id(1), 5)
        let reader = relay.joinEvents(user: 5, rooms: [1: 3], lastID: String(decoding: cursor.id, as: UTF8.self))
        _ = reader.take()
        // It was told to fetch from 3 on, as its history seemed another one.
        relay.publish(.numbered(4), .numbered(5), .numbered(6))
        #expect(reader.takeSeqs() == [4, 5, 6])
        cursor.set(id(1), 6)
        let behind = relay.joinEvents(user: 6, rooms: [1: 6], lastID: String(decoding: cursor.id, as: UTF8.self))
        _ = behind.take()
        relay.publish(.numbered(6), .numbered(7))
        #expect(behind.takeSeqs() == [7])
    }

    @Test func silenceIsBrokenByComments() throws {
        let relay = try TestRelay(["WS_HEARTBEAT": "4", "WS_IDLE_SECONDS": "20"])
        let reader = relay.joinEvents(user: 5)
        relay.pass(seconds: 61)
        #expect(reader.takeTypes() == ["welcome"] && !reader.hasEnded)
        #expect((14...16).contains(reader.comments))
    }

    @Test func anEndIsToldWithItsReason() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "1"])
        let reader = relay.joinEvents(user: 5, ends: 1_010)
        _ = reader.take()
        relay.pass(seconds: 12)
        let end = reader.take().last
        #expect(end?["Type"]?.string == "close" && end?["Data"]?["Code"]?.int == 4001 && reader.hasEnded)
        let replaced = relay.joinEvents(user: 6)
        _ = replaced.take()
        let next = relay.joinEvents(user: 6)
        #expect(replaced.take().last?["Data"]?["Code"]?.int == 4009 && replaced.retry == "3600000")
        #expect(next.takeTypes() == ["welcome"])
        next.write("x")
        relay.run()
        #expect(next.take().last?["Data"]?["Code"]?.int == 1008)
        let revoked = relay.joinEvents(user: 7)
        relay.hub.revoke([Revocation(.user(id(7), before: 501), at: 1)])
        relay.run()
        #expect(revoked.take().last?["Data"]?["Code"]?.int == 4001)
    }

    @Test func aSlowReaderGoesOnWhereItStopped() throws {
        let relay = try TestRelay(["WS_OUTBOX_BYTES": "65536"])
        let other = relay.join(user: 6)
        let reader = relay.connectReader(sendBuffer: 2048)
        reader.request(user: 5)
        relay.run()
        relay.finishJoining(user: 5, rooms: [1: 0])
        var log: [RoomFrame] = []
        for seq in 1...UInt64(40) {
            log.append(.numbered(seq, padding: 16_000))
            relay.publish(log.last!)
        }
        var seqs: [Int64] = []
        var types: [String] = []
        for _ in 0..<200 where !reader.hasEnded {
            relay.run()
            for frame in reader.take() {
                seqs += frame["Seq"]?.int.map { [$0] } ?? []
                types.append(frame["Type"]?.string ?? "?")
                if types.last == "close" {
                    #expect(frame["Data"]?["Reason"]?.string?.contains("resume \(id(1)) ") == true)
                }
            }
        }
        #expect(types.last == "close" && seqs == Array(1...Int64(seqs.count)))
        let next = relay.connectReader(lastID: reader.lastID)
        next.request(user: 5)
        relay.run()
        relay.finishJoining(user: 5, rooms: [1: 40])
        for _ in 0..<50 {
            relay.answerPage(of: log)
            seqs += next.takeSeqs()
        }
        #expect(seqs == Array(1...40))
        withExtendedLifetime(other) {}
    }

    @Test func nothingMayFollowTheRequest() throws {
        let relay = try TestRelay()
        let reader = relay.connectReader()
        reader.write("GET /events?token=x HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        relay.run()
        reader.read()
        #expect(reader.head.hasPrefix("HTTP/1.1 40"))
    }
}

@Suite struct LongPollTests {
    private static func frames(_ answer: WireValue?) -> [Int64] {
        (answer?["Data"]?.array ?? []).compactMap { $0["Seq"]?.int }
    }

    @Test func isAnsweredAsSoonAsSomethingIsThere() throws {
        let relay = try TestRelay()
        let other = relay.join(user: 6, rooms: [1: 0])
        // Without a place the first brings it.
        var poll = relay.joinEvents(user: 5, rooms: [1: 0], wait: 30)
        #expect(poll.takeAnswer()?["Data"]?.array?.first?["Type"]?.string == "welcome")
        poll = relay.joinEvents(user: 5, rooms: [1: 0], lastID: poll.lastID, wait: 30)
        #expect(poll.takeAnswer() == nil && !poll.hasEnded)
        relay.pass(seconds: 5)
        #expect(poll.takeAnswer() == nil)
        relay.publish(.numbered(1), .numbered(2))
        #expect(Self.frames(poll.takeAnswer()) == [1, 2])
        // A frame between two polls.
        relay.publish(.numbered(3))
        poll = relay.connectReader(lastID: poll.lastID)
        poll.request(user: 5, wait: 30)
        relay.run()
        relay.finishJoining(user: 5, rooms: [1: 3])
        relay.answerFrames { _ in [.numbered(1), .numbered(2), .numbered(3)] }
        #expect(Self.frames(poll.takeAnswer()) == [3])
        withExtendedLifetime(other) {}
    }

    @Test func isAnsweredWithNothingInTheEnd() throws {
        let relay = try TestRelay()
        var poll = relay.joinEvents(user: 5, wait: 3)
        _ = poll.takeAnswer()
        let place = poll.lastID
        poll = relay.joinEvents(user: 5, lastID: place, wait: 3)
        relay.pass(seconds: 2)
        #expect(poll.takeAnswer() == nil)
        relay.pass(seconds: 3)
        let answer = poll.takeAnswer()
        #expect(answer?["Data"]?.array?.isEmpty == true && answer?["LastEventID"]?.string == place)
        #expect(poll.head.contains("Cache-Control: no-store"))
        relay.pass(seconds: 10)
        #expect(relay.hub.sockets.connections.count == 0 && relay.hub.sockets.streams.isEmpty)
    }

    @Test func oneAnswerHasABound() throws {
        let relay = try TestRelay()
        let other = relay.join(user: 6)
        var place = relay.joinEvents(user: 5, wait: 5)
        _ = place.takeAnswer()
        var log: [RoomFrame] = []
        var seqs: [Int64] = []
        for _ in 0..<4 {
            let poll = relay.joinEvents(user: 5, rooms: [1: UInt64(log.count)], lastID: place.lastID, wait: 5)
            let first = UInt64(log.count) + 1
            log += (first..<first + 20).map { .numbered($0, padding: 8000) }
            relay.hub.handle(
                .message(
                    channel: "room:\(id(1))",
                    payload: FrameChunk(room: id(1), frames: Array(log[Int(first - 1)...])).encode()))
            for _ in 0..<5 { relay.answerFrames { _ in log } }
            let answer = poll.takeAnswer()
            seqs += Self.frames(answer)
            place = poll
        }
        for _ in 0..<20 where seqs.count < log.count {
            let poll = relay.connectReader(lastID: place.lastID)
            poll.request(user: 5, wait: 5)
            relay.run()
            relay.finishJoining(user: 5, rooms: [1: UInt64(log.count)])
            for _ in 0..<5 { relay.answerFrames { _ in log } }
            seqs += Self.frames(poll.takeAnswer())
            place = poll
        }
        #expect(seqs == Array(1...Int64(log.count)))
        withExtendedLifetime(other) {}
    }

    @Test func anEndIsAnAnswer() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "1", "WS_DRAIN_SECONDS": "0"])
        let first = relay.joinEvents(user: 5, wait: 5)
        _ = first.takeAnswer()
        let polls = (0..<2).map { _ in relay.joinEvents(user: 5, lastID: first.lastID, wait: 60) }
        #expect(polls[0].takeAnswer()?["Error"]?["Code"]?.string == "conflict" && polls[0].head.contains(" 409 "))
        relay.hub.endAll()
        relay.run()
        #expect(
            polls[1].takeAnswer()?["Error"]?["Code"]?.string == "unavailable" && polls[1].head.contains("Retry-After"))
    }
}
