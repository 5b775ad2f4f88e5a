import ChatCore
import TestSupport
import Testing

@testable import fcgi_api

@Suite struct MessageEndpointTests {
    private let api = TestApi()

    @Test func sendsWithTheKeyAsSign() {
        let answer = api.ask(
            "POST", "/rooms/\(kitchen)/messages", body: #"{"Content":"hi"}"#, headers: ["HTTP_IDEMPOTENCY_KEY": "k1"])
        #expect(answer.status == 201)
        let command = api.queue.commands[0]
        #expect(command.sign == "k1")
        #expect(command.room == kitchen)
        #expect(command.actor == bob)
        #expect(command.action == .send(MessageDraft(content: "hi"), receiver: nil))
    }

    @Test func signOfTheBodyWins() {
        _ = api.ask(
            "POST", "/rooms/\(kitchen)/messages", body: #"{"Content":"hi","Sign":"s"}"#,
            headers: ["HTTP_IDEMPOTENCY_KEY": "k1"])
        #expect(api.queue.commands[0].sign == "s")
    }

    @Test func queuedIsSaidSo() {
        api.queue.answer = .success(.queued)
        let answer = api.ask("POST", "/rooms/\(kitchen)/messages", body: #"{"Content":"hi"}"#)
        #expect(answer.status == 202)
        #expect(answer.json["Data"]?["Status"] == .string("queued"))
        #expect(answer.json["Data"]?["ID"]?.string == api.queue.commands[0].id.description)
    }

    @Test func refusalsOfTheWriterKeepTheirCode() {
        let frame = WireValue.map([
            .init("Success", .bool(false)), .init("Error", .string("not_a_member: you are not a member")),
        ])
        api.queue.answer = .success(.answered(frame))
        let answer = api.ask("POST", "/rooms/\(kitchen)/messages", body: #"{"Content":"hi"}"#)
        #expect(answer.status == 404)
        #expect(answer.code == "not_a_member")
    }

    @Test func busyQueueIsA503() {
        api.queue.answer = .failure(.busy("the room's queue is full"))
        let answer = api.ask("POST", "/rooms/\(kitchen)/messages", body: #"{"Content":"hi"}"#)
        #expect(answer.status == 503)
        #expect(answer.headers["Retry-After"] == "1")
    }

    @Test func tooManyIsA429() {
        api.rates.left = 1
        let path = "/rooms/\(kitchen)/messages"
        #expect(api.ask("POST", path, body: #"{"Content":"hi"}"#).status == 201)
        let answer = api.ask("POST", path, body: #"{"Content":"hi"}"#)
        #expect(answer.status == 429 && answer.code == "rate_limited")
        #expect(answer.headers["Retry-After"] == "2")
        #expect(api.ask("GET", "/search?q=text").status == 429)
        #expect(api.ask("GET", path).status == 429)
        #expect(api.queue.commands.count == 1)
        api.rates.left = 1
        #expect(api.ask("GET", path).status == 200)
    }

    @Test func bodiesAreChecked() {
        let path = "/rooms/\(kitchen)/messages"
        #expect(api.ask("POST", path, body: "{").status == 400)
        #expect(api.ask("POST", path, body: "[]").status == 400)
        #expect(api.ask("POST", path).field == "Content")
        #expect(api.ask("POST", path, body: "<a/>", type: "text/xml").status == 415)
        #expect(api.ask("POST", path, body: "Content=a+b", type: "application/x-www-form-urlencoded").status == 201)
        #expect(api.ask("POST", path, body: String(repeating: " ", count: 70_000)).status == 413)
        #expect(api.queue.commands.count == 1)
    }

    @Test func pagesOfHistory() {
        let newest = api.ask("GET", "/rooms/\(kitchen)/messages?limit=2")
        #expect(newest.json["Data"]?.array?.count == 2)
        #expect(newest.json["Next"] == .string("before=2&limit=2"))
        #expect(api.ask("GET", "/rooms/\(kitchen)/messages?limit=3").json["Next"] == .null)
        #expect(
            api.ask("GET", "/rooms/\(kitchen)/messages?changed_since=5&limit=2").json["Next"]
                == .string("changed_since=12&limit=2"))
        _ = api.ask("GET", "/rooms/\(kitchen)/messages?before=9")
        _ = api.ask("GET", "/rooms/\(kitchen)/messages?after=0")
        #expect(api.store.asked.suffix(3) == [.changedSince(5), .before(9), .after(0)])
        #expect(api.ask("GET", "/rooms/\(kitchen)/messages?before=1&after=2").status == 422)
        #expect(api.ask("GET", "/rooms/\(kitchen)/messages?before=-1").field == "before")
        #expect(api.ask("GET", "/rooms/\(kitchen)/messages", as: alice).code == "not_a_member")
    }

    @Test func reactions() {
        let id = UUID128(high: 8, low: 1)
        #expect(api.ask("PUT", "/messages/\(id)/reactions/%F0%9F%91%8D").status == 200)
        #expect(api.queue.commands[0].action == .react(message: id, reaction: "👍", remove: false))
        for wrong in ["ab", "a", "7", "%E2%80%8D", "%EF%B8%8F", "%E2%9D%A4%E2%9D%A4", "%E2%9D%A4%E2%80%8D", "%CC%81"] {
            #expect(api.ask("PUT", "/messages/\(id)/reactions/\(wrong)").status == 422, "\(wrong)")
        }
        #expect(api.ask("PUT", "/messages/\(alice)/reactions/%F0%9F%91%8D").code == "message_not_found")
    }
}

@Suite struct RoomEndpointTests {
    private let api = TestApi()

    @Test func onePairHasOneRoom() {
        let body = #"{"Type":"PRIVATE","Members":["\#(alice)"]}"#
        #expect(api.ask("POST", "/rooms", body: body).status == 201)
        #expect(api.queue.commands[0].room == privateRoomID(alice, bob))
        #expect(api.ask("POST", "/rooms", as: alice, body: body).field == "Members")
        #expect(api.ask("POST", "/rooms", body: #"{"Type":"PRIVATE","Members":[]}"#).field == "Members")
        #expect(api.ask("POST", "/rooms", body: #"{"Type":"GROUP","Members":[]}"#).field == "Name")
        #expect(api.ask("POST", "/rooms", body: #"{"Type":"CLUB","Name":"x"}"#).field == "Type")
    }

    @Test func groupIsItsCommand() {
        _ = api.ask("POST", "/rooms", body: #"{"Type":"GROUP","Name":"Kitchen"}"#)
        #expect(api.queue.commands[0].id == api.queue.commands[0].room)
    }

    @Test func listGoesOn() {
        let page = api.ask("GET", "/rooms?limit=2")
        #expect(page.json["Data"]?.array?.count == 2)
        let next = page.json["Next"]?.string ?? ""
        #expect(next.hasPrefix("cursor=99_") && next.hasSuffix("&limit=2"))
        // As the query of an address, and as the parameter's value, encoded or not.
        let encoded = next.replacing("&", with: "%26").replacing("=", with: "%3D")
        for query in [next, "cursor=\(next)", "limit=2&cursor=\(encoded)", "\(next)&limit=2", "cursor=\(next)&limit=2"]
        {
            #expect(api.ask("GET", "/rooms?\(query)").status == 200, "\(query)")
        }
        #expect(api.ask("GET", "/rooms?cursor=9223372036854775807_\(alice)").field == "cursor")
        #expect(api.ask("GET", "/rooms?cursor=1").field == "cursor")
    }

    @Test func authorization() {
        #expect(api.ask("GET", "/rooms", as: nil).status == 401)
        #expect(api.ask("GET", "/rooms", as: nil).headers["WWW-Authenticate"] == "Bearer")
        #expect(api.ask("GET", "/rooms", as: nil, headers: ["HTTP_AUTHORIZATION": "Basic x"]).status == 401)
        #expect(api.ask("GET", "/rooms/\(kitchen)").status == 200)
        #expect(api.ask("GET", "/rooms/\(kitchen)", as: alice).status == 404)
    }

    @Test func storeThatIsAwayIsA503AndABugIsNot() {
        api.store.problem = StoreError("gone", isTransient: true)
        #expect(api.ask("GET", "/rooms/\(kitchen)").status == 503)
        api.store.problem = StoreError("wrong", isTransient: false)
        #expect(api.ask("GET", "/rooms/\(kitchen)").status == 500)
    }

    @Test func memberChangesAreOneAtATime() {
        let path = "/rooms/\(kitchen)/members/\(alice)"
        #expect(api.ask("PATCH", path, body: #"{"Role":"ADMIN"}"#).status == 200)
        #expect(api.ask("PATCH", path, body: #"{"MutedUntil":"2030-01-01T00:00:00+02:00"}"#).status == 200)
        #expect(api.ask("PATCH", path, body: #"{"MutedUntil":null}"#).status == 200)
        #expect(api.ask("PATCH", path, body: #"{"Banned":true}"#).status == 200)
        #expect(
            api.queue.commands.map(\.action) == [
                .setRole(user: alice, role: .admin), .mute(user: alice, until: 1_893_448_800_000),
                .mute(user: alice, until: nil), .ban(user: alice, banned: true),
            ])
        #expect(api.ask("PATCH", path, body: #"{"Banned":true,"Role":"ADMIN"}"#).status == 422)
        #expect(api.ask("PATCH", path, body: #"{"MutedUntil":"tomorrow"}"#).field == "MutedUntil")
        #expect(api.ask("PATCH", path, body: "{}").status == 422)
    }

    @Test func invitations() {
        #expect(api.ask("GET", "/rooms/\(kitchen)/invitations").json["Data"]?.array?.first?["Token"] == .string("t"))
        #expect(api.ask("GET", "/rooms/\(kitchen)/invitations", as: alice).code == "forbidden")
        #expect(api.ask("POST", "/rooms/\(kitchen)/invitations", body: #"{"ExpiresIn":60,"MaxUses":2}"#).status == 201)
        guard case .createInvitation(let draft) = api.queue.commands[0].action else { return #expect(Bool(false)) }
        #expect(draft.maxUses == 2 && draft.expiresAt == 1_795_386_556_000 && draft.token.count == 32)
        #expect(api.ask("POST", "/rooms/\(kitchen)/invitations", body: #"{"MaxUses":0}"#).field == "MaxUses")
        #expect(api.ask("POST", "/rooms/join", as: alice, body: #"{"Token":"t"}"#).status == 200)
        #expect(api.queue.commands[1].action == .join(invitation: UUID128(high: 9, low: 1)))
        #expect(api.queue.commands[1].room == kitchen)
        #expect(api.ask("POST", "/rooms/join", body: #"{"Token":"x"}"#).status == 404)
        // PostgreSQL takes no NUL.
        #expect(api.ask("POST", "/rooms/join", as: alice, body: #"{"Token":"t\u0000"}"#).status == 404)
    }

    @Test func search() {
        let page = api.ask("GET", "/search?q=te&limit=2")
        #expect(page.json["Data"]?.array?.first?["Marks"]?.array?.first?["Length"] == .int(4))
        let next = page.json["Next"]?.string ?? ""
        #expect(api.ask("GET", "/rooms/\(kitchen)/search?\(next)").status == 200)
        for wrong in ["", "q=", "q=%20%20", "q=te&cursor=1"] {
            #expect(api.ask("GET", "/search?\(wrong)").status == 422)
        }
        let far = "9007199254740992_\(kitchen)_1"
        for wrong in [
            "1_\(kitchen)_-1", "-1_\(kitchen)_1", far, "1_\(kitchen)_1_1", "99999999999999999999_\(kitchen)_1",
        ] {
            #expect(api.ask("GET", "/search?q=te&cursor=\(wrong)").status == 422)
        }
        // An accent is a scalar but not a character: the limit counts bytes.
        #expect(api.ask("GET", "/search?q=te" + String(repeating: "%CC%81", count: 255)).status == 422)
        #expect(SearchHit.marks(in: "a \u{2}b\u{3} 👍 \u{2}c\u{2}d\u{3}\u{3}") == [2..<3, 6..<8])
        // "Mu¨ller, Straße" is compared as "muller, strasse".
        let runs = [(written: 7, compared: 6), (2, 2), (6, 7)]
        #expect(SearchHit.marks([0..<6, 8..<15], asWritten: runs) == [0..<7, 9..<15])
        #expect(SearchHit.marks([2..<10], asWritten: runs) == [0..<15])
        #expect(SearchHit.marks([6..<7], asWritten: runs) == [7..<8])
    }

    @Test func presenceIsForThoseWhoShareARoom() {
        #expect(api.ask("GET", "/users/\(alice)/presence").json["Data"]?["Online"] == .bool(true))
        #expect(api.ask("GET", "/users/\(kitchen)/presence", as: alice).status == 404)
    }

    @Test func presenceCanBeHidden() {
        let answer = api.ask("PATCH", "/account", body: #"{"HidePresence":true}"#)
        #expect(answer.json["Data"]?["HidePresence"] == .bool(true))
        #expect(api.accounts.told == [.presence(isHidden: true)])
        #expect(api.ask("PATCH", "/account", body: "{}").field == "HidePresence")
        api.store.hidden = alice
        #expect(api.ask("GET", "/users/\(alice)/presence").json["Data"]?["Online"] == .bool(false))
        #expect(api.ask("GET", "/account", as: alice).json["Data"]?["HidePresence"] == .bool(true))
    }

    @Test func unknownParametersAreRefused() {
        for uri in ["/rooms?limits=5", "/rooms/\(kitchen)?x=1", "/account?=", "/rooms/\(kitchen)/messages?cursor=1"] {
            let answer = api.ask("GET", uri)
            #expect(answer.status == 400 && answer.code == "malformed", "\(uri)")
        }
        #expect(api.ask("GET", "/rooms?limits=5").field == "limits")
        #expect(api.ask("GET", "/rooms?limits=5", as: nil).status == 401)
        #expect(api.ask("GET", "/healthz?probe=1", as: nil).status == 200)
    }

    @Test func listsBringMessages() {
        let rooms = api.ask("GET", "/rooms?limit=2&messages=2").json["Data"]?.array ?? []
        #expect(rooms.map { $0["Messages"]?.array?.count } == [2, 0])
        #expect(api.ask("GET", "/rooms").json["Data"]?.array?.first?["Messages"] == nil)
        #expect(api.ask("GET", "/rooms?messages=0").json["Data"]?.array?.first?["Messages"] == .array([]))
        #expect(api.ask("GET", "/rooms?messages=51").field == "messages")
        #expect(api.ask("GET", "/rooms?messages=-1").field == "messages")
    }

    @Test func whatStaysIsLeftOut() {
        let member = "/rooms/\(kitchen)/members/\(alice)"
        let bad = [
            ("/rooms/\(kitchen)", #"{"Name":null}"#, "Name"), ("/rooms/\(kitchen)", #"{"Name":""}"#, "Name"),
            ("/rooms/\(kitchen)", #"{"Name":"\#u{200b} "}"#, "Name"),
            ("/rooms/\(kitchen)", #"{"Avatar":null}"#, "Avatar"),
            ("/rooms/\(kitchen)", #"{"Name":"x","MemberLimit":null}"#, "MemberLimit"),
            (member, #"{"Banned":null}"#, "Banned"), (member, #"{"Role":null}"#, "Role"), (member, "{}", "Role"),
            ("/account", #"{"HidePresence":null}"#, "HidePresence"), ("/account", #"{"AddedBy":""}"#, "AddedBy"),
            ("/account", #"{"AddedBy":"me"}"#, "AddedBy"),
        ]
        for (uri, body, field) in bad {
            let answer = api.ask("PATCH", uri, body: body)
            #expect(answer.status == 422 && answer.field == field, "\(uri) \(body)")
        }
        #expect(api.queue.commands.isEmpty)
        #expect(api.ask("PATCH", "/rooms/\(kitchen)", body: #"{"Description":""}"#).status == 200)
        #expect(api.ask("PATCH", member, body: #"{"MutedUntil":null}"#).status == 200)
        #expect(api.queue.commands.last?.action == .mute(user: alice, until: nil))
    }

    /// `{"Content":"x"}` as zlib packs it.
    @Test func bodiesMayBePacked() {
        let whole: [UInt8] = [
            0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0xab, 0x56, 0x72, 0xce, 0xcf, 0x2b, 0x49, 0xcd, 0x2b, 0x51,
            0xb2,
            0x52, 0xaa, 0x50, 0xaa, 0x05, 0, 0xbc, 0xc6, 0x68, 0x37, 0x0f, 0, 0, 0,
        ]
        let path = "/rooms/\(kitchen)/messages"
        func send(_ bytes: [UInt8], _ coding: String) -> TestApi.Answer {
            api.ask("POST", path, bytes: bytes, headers: ["HTTP_CONTENT_ENCODING": coding])
        }
        #expect(send(whole, "gzip").status == 201)
        #expect(send(whole, "GZIP").status == 201)
        #expect(send(Array(#"{"Content":"x"}"#.utf8), "identity").status == 201)
        #expect(send(Array(whole.dropLast(9)), "gzip").status == 400)
        #expect(send(Array(#"{"Content":"x"}"#.utf8), "gzip").status == 400)
        for coding in ["br", "deflate", "x-unknown", "gzip, gzip"] {
            let answer = send(whole, coding)
            #expect(answer.status == 415 && answer.headers["Accept-Encoding"] == "gzip, identity", "\(coding)")
        }
        #expect(api.queue.commands.count == 3)
    }

    @Test func whatShowsNothingIsNoMessage() {
        let path = "/rooms/\(kitchen)/messages"
        for text in [
            " ", "\n\t ", "\u{200b}", "\u{feff}\u{2060}", "\u{3164}", "\u{2800}", "\u{200d}\u{fe0f}", "\u{e0061}",
        ] {
            var writer = JSONWriter()
            writer.map { $0.field("Content", text) }
            #expect(
                api.ask("POST", path, bytes: writer.take()).field == "Content", "\(text.unicodeScalars.map(\.value))")
        }
        for text in [".", "\u{301}", "👍", "\u{200b}x"] {
            #expect(api.ask("POST", path, body: "{\"Content\":\"\(text)\"}").status == 201, "\(text)")
        }
    }
}

@Suite struct DeviceEndpointTests {
    private func api() throws -> TestApi { TestApi(push: try Settings(testing: [:]).push) }
    private let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"

    private func subscription(_ endpoint: String, auth: String = "BTBZMqHH6r4Tts7J_aSIgg") -> String {
        #"{"Endpoint":"\#(endpoint)","Keys":{"p256dh":"\#(key)","auth":"\#(auth)"}}"#
    }

    @Test func tokensOfFCM() throws {
        let api = try api()
        #expect(api.ask("PUT", "/devices/abc:d-e_f").status == 204)
        #expect(api.ask("PUT", "/devices/a%20b").status == 422)
    }

    @Test func theSameSubscriptionIsTheSameDevice() throws {
        let api = try api()
        let answer = api.ask("POST", "/devices", body: subscription("https://push.example.org/1"))
        let name = answer.json["Data"]?["Device"]?.string
        #expect(answer.status == 201 && name?.utf8.count == 51)
        let again = api.ask("POST", "/devices", body: subscription("https://push.example.org/1"))
        #expect(again.json["Data"]?["Device"]?.string == name)
        let other = api.ask("POST", "/devices", body: subscription("https://push.example.org/2"))
        #expect(other.json["Data"]?["Device"]?.string != name)
        let device = try #require(api.accounts.registered.first)
        #expect(device.publicKey.count == 65 && device.secret.count == 16 && device.takesSilent)
        // The list tells neither endpoint nor keys.
        let list = api.ask("GET", "/devices")
        #expect(list.json["Data"]?["Devices"]?.array?.first?["Device"]?.string == name)
        #expect(list.json["Data"]?["Devices"]?.array?.first?["Endpoint"] == nil)
        #expect(list.json["Data"]?["VAPIDPublicKey"]?.isNull == true && list.json["Data"]?["Kinds"]?.array == [])
    }

    @Test func whatIsNoDeviceIsRefusedByItsField() throws {
        let api = try api()
        #expect(api.ask("POST", "/devices", body: subscription("https://10.0.0.1/")).field == "Endpoint")
        #expect(api.ask("POST", "/devices", body: subscription("https://a.example/", auth: "AAAA")).field == "Keys")
        #expect(api.ask("POST", "/devices", body: "{}").field == "Kind")
        #expect(api.ask("POST", "/devices", body: #"{"Kind":"apns","Token":"0g"}"#).field == "Token")
        #expect(api.accounts.registered.isEmpty)
        let digits = String(repeating: "aB", count: 32)
        #expect(api.ask("POST", "/devices", body: "{\"Kind\":\"apns\",\"Token\":\"\(digits)\"}").status == 201)
        #expect(api.accounts.registered.first?.address == digits.lowercased())
    }

    @Test func quietHours() throws {
        let api = try api()
        let body = #"{"QuietHours":{"From":"22:00","To":"07:30","TimeZone":"Europe/Berlin"}}"#
        #expect(api.ask("PATCH", "/account", body: body).status == 200)
        #expect(api.accounts.account.quietHours == QuietHours(from: 1320, to: 450, zone: "Europe/Berlin"))
        for wrong in [
            #"{"From":"22:00","To":"22:00","TimeZone":"Europe/Berlin"}"#,
            #"{"From":"24:00","To":"07:30","TimeZone":"Europe/Berlin"}"#,
            #"{"From":"22:00","To":"07:30","TimeZone":"Mars"}"#,
            #"{"From":"22:00","To":"07:30"}"#, #""UTC""#, "7",
        ] {
            #expect(api.ask("PATCH", "/account", body: "{\"QuietHours\":\(wrong)}").field == "QuietHours", "\(wrong)")
        }
        #expect(api.accounts.account.quietHours != nil)
        let zones = ["UTC", "Etc/GMT+5", "America/Port-au-Prince", "UTC+3", "FOO3", "Factory", "Europe/Berlin-1", ""]
        #expect(zones.filter(QuietHours.isZoneName) == Array(zones.prefix(3)))
        #expect(api.ask("PATCH", "/account", body: #"{"QuietHours":null}"#).status == 200)
        #expect(api.accounts.account.quietHours == nil)
    }

    @Test func aRoomIsSilencedButForMentions() throws {
        let api = try api()
        #expect(api.ask("PUT", "/rooms/\(kitchen)/silence", body: #"{"Mentions":true}"#).status == 204)
        #expect(api.accounts.silences.last?.1 == Silence(exceptMentions: true))
        #expect(api.ask("PUT", "/rooms/\(kitchen)/silence", body: #"{"Mentions":"x"}"#).field == "Mentions")
        #expect(api.ask("PUT", "/messages/\(kitchen)/silence").status == 404)
    }
}

@Suite struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2026-11-22T21:30:23.123Z", 1_795_383_023_123),
        ("2026-11-22T22:30:23.1239+01:00", 1_795_383_023_123), ("2024-02-29t00:00:00z", 1_709_164_800_000),
    ])
    func reads(_ text: String, _ time: Int64) { #expect(parseTimestamp(text) == time) }

    @Test(arguments: [
        "", "2026-11-22", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T00:00:00",
        "2026-11-22T00:00:00Zx",
    ])
    func refuses(_ text: String) { #expect(parseTimestamp(text) == nil) }
}
