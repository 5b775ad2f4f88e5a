import TestSupport
import Testing

@testable import ChatCore

/// The receivers of pushes, and what becomes of each push, without servers.
@Suite struct PushOfflineTests {
    private let ann = UUID128(high: 1, low: 1)
    private let bob = UUID128(high: 1, low: 2)
    private let carl = UUID128(high: 1, low: 3)
    private let room = UUID128(high: 2, low: 1)
    private let world = PushWorld()

    private func message(_ seq: Int64, _ content: String = "hello", at: Int64 = 1000) -> PushMessage {
        PushMessage(
            id: UUID128(high: 3, low: UInt64(seq)), sender: ann, seq: seq, contentType: .text, content: content,
            roomName: "R", createdAt: at)
    }

    private func recipient(
        _ user: UUID128, _ kind: PushKind = .webPush, devices: Int = 1, wish: PushRecipient.Wish = .everything,
        silences: Bool = false, seen: Int64 = 0, silent: Bool = true, address: String = "a"
    ) -> PushRecipient {
        PushRecipient(
            user: user,
            devices: (0..<devices).map {
                PushDevice(user: user, id: "\(user.low)-\($0)", kind: kind, address: address, takesSilent: silent)
            }, lastSeenSeq: seen, unread: 1, wish: wish, silencesThreads: silences)
    }

    private func push(_ offline: PushOffline, through seq: Int64, since: Int64 = 1000) throws {
        try offline.push(room, through: seq, since: since, at: 2000)
    }

    @Test func theNewestMessageThatAUserWants() throws {
        world.messages = [
            message(4, "plain"), message(3, "to @\(bob)"), message(2, "plain"), message(1, "to @\(carl)", at: 0),
        ]
        world.recipients = [
            recipient(ann), recipient(bob, wish: .mentions), recipient(carl, wish: .mentions),
            recipient(UUID128(high: 1, low: 4)), recipient(UUID128(high: 1, low: 5), wish: .nothing),
        ]
        try push(world.offline(), through: 4, since: 60_500)
        // Carl's mention is older than the job.
        #expect(world.sent == ["2-0 message 3 badge 9", "4-0 message 4 badge 9"])
        #expect(world.counted.spared == 3 && world.counted.sent == 2)
    }

    @Test(arguments: [PushKind.webPush, .fcm])
    func eachEndOfAPushIsReported(_ kind: PushKind) throws {
        world.messages = [message(1)]
        let users = (2...4).map { UUID128(high: 1, low: $0) }
        world.recipients = users.map { recipient($0, kind) }
        world.answers = ["3-0": [.rejected("no")], "4-0": [.unregistered]]
        try push(world.offline(), through: 1)
        #expect(world.reported == ["2-0 sent", "3-0 no", "4-0 the device is not registered any more"])
    }

    @Test func anEventOfAPushNamesItsMessage() throws {
        let device = PushDevice(user: bob, id: "d", kind: .webPush, address: "a")
        let push = Push(room: room, content: .message(message(7), unread: 1))
        let event = try #require(HookEvent.push(push, to: device, failure: "no", id: carl, at: 5))
        let body = try JSONReader.decode(event.body)
        #expect(event.name == "push.failed" && body["ID"]?.string == "\(carl)/0" && body["Seq"]?.int == 7)
        #expect(body["Data"]?["UserID"]?.string == "\(bob)" && body["Data"]?["Reason"]?.string == "no")
        // The host hears of messages, not of notifications that are taken back.
        let seen = Push(room: room, content: .seen(seq: 7))
        #expect(HookEvent.push(seen, to: device, failure: nil, id: carl, at: 5) == nil)
    }

    @Test func aThreadIsSilentButForMentionsWhereThatIsWanted() throws {
        world.messages = [message(3, "to @\(carl)"), message(2, "in the thread"), message(1, "outside")]
        world.recipients = [recipient(bob, silences: true), recipient(carl, silences: true)]
        for seq in [2, 3] as [UInt64] {
            world.silenced.append(
                SilencedMessage(user: bob, message: UUID128(high: 3, low: seq), exceptMentions: false))
            world.silenced.append(
                SilencedMessage(user: carl, message: UUID128(high: 3, low: seq), exceptMentions: true))
        }
        try push(world.offline(), through: 3)
        #expect(world.sent == ["2-0 message 1 badge 9", "3-0 message 3 badge 9"])
    }

    @Test func aUserIsToldOfNothingTwice() throws {
        world.messages = [message(3)]
        world.recipients = [recipient(bob, seen: 3), recipient(carl)]
        let offline = world.offline()
        try push(offline, through: 3)
        try push(offline, through: 3)
        #expect(world.sent == ["3-0 message 3 badge 9"])
    }

    @Test func aServiceThatAsksToWaitDelaysItsOwnPushesAlone() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob, devices: 2), recipient(carl, .apns)]
        world.answers = ["2-0": [.later(seconds: 7), .sent]]
        let offline = world.offline()
        try push(offline, through: 1)
        #expect(world.sent == ["2-0 message 1 badge 9", "2-1 message 1 badge 9", "3-0 message 1 badge 9"])
        #expect(world.paused.isEmpty && world.counted.sent == 2)
        world.now += 6999
        try offline.retryDue()
        #expect(world.counted.sent == 2)
        world.now += 1
        try offline.retryDue()
        #expect(world.counted.sent == 3 && world.counted.failed == 0)
    }

    @Test func aNewerPushTakesThePlaceOfTheOneThatWaits() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob)]
        world.answers = ["2-0": [.failed("500")]]
        let offline = world.offline()
        try push(offline, through: 1)
        world.messages = [message(2)]
        try push(offline, through: 2)
        world.now += 10_000
        try offline.retryDue()
        #expect(world.sent == ["2-0 message 1 badge 9", "2-0 message 2 badge 9"])
        // Seen before it was sent: a device that takes silent pushes is told, another gets nothing at all.
        world.messages = [message(3)]
        world.answers = ["2-0": [.failed("500")]]
        try push(offline, through: 3)
        world.recipients = [recipient(bob, silent: false)]
        try offline.clear(room, of: bob, through: 3)
        world.now += 10_000
        try offline.retryDue()
        #expect(world.sent.count == 3)
    }

    @Test func itIsGivenUpAfterFiveTries() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob)]
        world.answers = ["2-0": Array(repeating: .failed("500"), count: 9)]
        let offline = world.offline()
        try push(offline, through: 1)
        for _ in 0..<20 {
            world.now += 60_000
            try offline.retryDue()
        }
        #expect(world.sent.count == 5 && world.counted.failed == 1)
    }

    /// Each try takes four seconds: without a rest they would take all the time.
    @Test func slowAddressesOfOneUserCostOthersLittle() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob, devices: 20), recipient(carl)]
        world.slow = ["2": 4000]
        let offline = world.offline()
        let begun = world.now
        try push(offline, through: 1)
        #expect(world.now - begun == 4000)
        #expect(world.sent == ["2-0 message 1 badge 9", "3-0 message 1 badge 9"])
        for _ in 0..<1000 {
            world.now += 1000
            try offline.retryDue()
        }
        #expect(world.sent.count == 21 && world.now - begun > 800_000)
    }

    /// Addresses that are each a little slow, in many rooms' messages, are as one that is very slow.
    @Test func manySlightlySlowAddressesOfOneUserCostOthersLittle() throws {
        world.recipients = [recipient(bob, devices: 20)]
        world.slow = ["2": 850]
        let offline = world.offline()
        let begun = world.now
        for seq in 1...6 {
            world.messages = [message(Int64(seq))]
            try push(offline, through: Int64(seq))
        }
        #expect(world.now - begun <= 3400)
        for _ in 0..<100 {
            world.now += 1000
            try offline.retryDue()
        }
        let busy = Int64(world.sent.count) * 850
        #expect(busy > 2000 && busy <= 3400 + (world.now - begun) / 10)
    }

    @Test func aServerThatIsSlowToFailRestsForAllItsUsers() throws {
        world.messages = [message(1)]
        world.recipients = (2...9).map {
            recipient(UUID128(high: 1, low: $0), address: "https://push.example.org/\($0)")
        }
        world.recipients.append(recipient(UUID128(high: 1, low: 99), address: "https://other.example.org/1"))
        world.answers = ["2-0": [.failed("timed out")]]
        world.slow = ["2": 5000]
        let offline = world.offline()
        try push(offline, through: 1)
        #expect(world.sent == ["2-0 message 1 badge 9", "99-0 message 1 badge 9"])
        for _ in 0..<60 {
            world.now += 1000
            try offline.retryDue()
        }
        #expect(Set(world.sent).count == 9)
    }

    @Test func aRefusalOfOneUsersDevicesIsNotTheServices() throws {
        let dora = UUID128(high: 1, low: 4)
        world.messages = [message(1)]
        world.recipients = [recipient(bob, .webhook, devices: 20), recipient(carl, .webhook)]
        for number in 0..<20 { world.answers["2-\(number)"] = Array(repeating: .later(seconds: 30), count: 9) }
        let offline = world.offline()
        try push(offline, through: 1)
        #expect(world.sent.last == "3-0 message 1 badge 9")
        // Three users in a row: it is away, and is not asked for a fourth.
        world.sent = []
        world.recipients = [
            recipient(bob, .webhook), recipient(carl, .webhook), recipient(dora, .webhook),
            recipient(UUID128(high: 1, low: 5), .webhook), recipient(UUID128(high: 1, low: 6), .webhook),
        ]
        world.messages = [message(2)]
        for user in 3...5 { world.answers["\(user)-0"] = [.failed("500")] }
        try push(offline, through: 2)
        #expect(world.sent == ["3-0 message 2 badge 9", "4-0 message 2 badge 9", "5-0 message 2 badge 9"])
    }

    @Test func usersWhoAreRefusedAgainAndAgainCostOthersOneRest() throws {
        let refused = (2...4).map { UUID128(high: 1, low: $0) }
        for user in 2...4 { world.answers["\(user)-0"] = Array(repeating: .later(seconds: 60), count: 9999) }
        let offline = world.offline()
        var waits: [Int64] = []
        for seq in 1...5 as ClosedRange<Int64> {
            world.messages = [message(seq)]
            world.recipients = refused.map { recipient($0, .apns) }
            for other in 1...30 as ClosedRange<UInt64> {
                try offline.push(UUID128(high: 9, low: other), through: seq, since: 1000, at: 2000)
            }
            world.recipients += [recipient(UUID128(high: 1, low: 5), .apns)]
            let begun = world.now
            try push(offline, through: seq)
            while !world.sent.contains("5-0 message \(seq) badge 9"), world.now < begun + 600_000 {
                world.now += 1000
                try offline.retryDue()
            }
            waits.append(world.now - begun)
            world.now += 60_000
        }
        // One rest of a minute, and the turns of those that waited with it.
        #expect(waits[0] < 120_000 && waits.dropFirst().allSatisfy { $0 <= 1000 }, "\(waits)")
    }

    /// The gateway is the host's: it may be slow for one user's devices.
    @Test func oneUserWhoseTriesFailSlowlyDelaysNobodyElse() throws {
        for device in 0..<12 { world.answers["2-\(device)"] = Array(repeating: .failed("503"), count: 9999) }
        world.slow["2"] = 1500
        let offline = world.offline()
        var waits: [Int64] = []
        for seq in 1...5 as ClosedRange<Int64> {
            world.messages = [message(seq)]
            world.recipients = [recipient(bob, .webhook, devices: 12)]
            for other in 1...3 as ClosedRange<UInt64> {
                try offline.push(UUID128(high: 9, low: other), through: seq, since: 1000, at: 2000)
            }
            world.recipients += [recipient(carl, .webhook)]
            let begun = world.now
            try push(offline, through: seq)
            while !world.sent.contains("3-0 message \(seq) badge 9"), world.now < begun + 600_000 {
                world.now += 1000
                try offline.retryDue()
            }
            waits.append(world.now - begun)
            world.now += 60_000
        }
        #expect(waits.allSatisfy { $0 <= 10_000 }, "\(waits)")
    }

    @Test func aStopBehindTheFirstDeviceSendsNothingTwice() throws {
        world.messages = [message(1)]
        world.recipients = [
            PushRecipient(
                user: bob,
                devices: ["2-0", "x-1", "2-2"].map {
                    PushDevice(user: bob, id: $0, kind: $0 == "2-2" ? .fcm : .webhook, address: "a", takesSilent: true)
                }, lastSeenSeq: 0, unread: 1, wish: .everything, silencesThreads: false), recipient(carl),
        ]
        world.stopsAt = "x-1"
        let offline = world.offline()
        #expect(throws: PushOffline.Stopped.self) { try push(offline, through: 1) }
        #expect(world.sent == ["2-2 message 1 badge 9", "2-0 message 1 badge 9"])
        (world.isStopped, world.stopsAt) = (false, nil)
        let next = world.offline()
        for job in try PushJob.decode(PushJob.encode(offline.handOver())) { try next.resume(job) }
        try push(next, through: 1)
        try next.retryDue()
        #expect(
            world.sent.sorted() == [
                "2-0 message 1 badge 9", "2-2 message 1 badge 9", "3-0 message 1 badge 9", "x-1 message 1 badge 9",
            ])
    }

    /// Anybody may delete a message of their own while another one of the room waits.
    @Test func anOlderMessageThatIsDeletedTakesNoOtherWithIt() throws {
        for isSilent in [true, false] {
            let world = PushWorld()
            world.recipients = [recipient(bob, silent: isSilent)]
            let offline = world.offline()
            world.messages = [message(1)]
            try push(offline, through: 1)
            world.messages = [message(2), message(1)]
            world.answers = ["2-0": [.failed("500")]]
            try push(offline, through: 2)
            try offline.takeBack(message(1).id, in: room, at: 1)
            world.now += 10_000
            try offline.retryDue()
            #expect(
                world.sent == ["2-0 message 1 badge 9", "2-0 message 2 badge 9", "2-0 message 2 badge 9"], "\(isSilent)"
            )
        }
    }

    @Test func onlyWhatIsAboutItTakesThePlaceOfAPushThatWaits() {
        func push(_ content: Push.Content) -> Push { Push(room: room, content: content) }
        let waiting = push(.message(message(5), unread: 1))
        for (content, isRight) in [
            (.message(message(6), unread: 1), true), (.message(message(4), unread: 1), false), (.seen(seq: 5), true),
            (.seen(seq: 4), false), (.deleted(message: message(5).id, seq: 5), true),
            (.deleted(message: message(4).id, seq: 4), false),
        ] as [(Push.Content, Bool)] {
            #expect(push(content).supersedes(waiting) == isRight)
            #expect(push(content).supersedes(push(.seen(seq: 9))))
        }
    }

    @Test func aPushThatWaitsIsLookedAtAgain() throws {
        for change in ["left", "logged out", "seen", "silenced", "deleted", "edited"] {
            let world = PushWorld()
            world.recipients = [recipient(bob)]
            world.messages = [message(1)]
            world.answers = ["2-0": [.failed("500")]]
            let offline = world.offline()
            try push(offline, through: 1)
            switch change {
            case "left": world.recipients = []
            case "logged out": world.recipients[0].devices = []
            case "seen": world.recipients[0].lastSeenSeq = 1
            case "silenced": world.recipients[0].wish = .nothing
            case "deleted": world.messages = []
            default: world.messages[0].content = "after the edit"
            }
            world.now += 10_000
            try offline.retryDue()
            #expect(world.sent.count == (change == "edited" ? 2 : 1), "\(change)")
            #expect(world.told.last == (change == "edited" ? "after the edit" : "hello"), "\(change)")
        }
    }

    @Test func aRepeatHasTheBadgeOfItsTime() throws {
        world.recipients = [recipient(bob)]
        world.messages = [message(1)]
        world.answers = ["2-0": [.failed("500")]]
        let offline = world.offline()
        try push(offline, through: 1)
        world.badge = 4
        world.now += 10_000
        try offline.retryDue()
        // The same for a push that only removes a notification.
        world.answers = ["2-0": [.failed("500")]]
        try offline.clear(room, of: bob, through: 1)
        world.badge = 0
        world.now += 10_000
        try offline.retryDue()
        #expect(world.sent == ["2-0 message 1 badge 9", "2-0 message 1 badge 4", "2-0 seen 1", "2-0 seen 1"])
        #expect(world.badges == [9, 4, 4, 0])
    }

    @Test func aRepeatFollowsWishesThatAreNewerThanItsFirstTry() throws {
        for wish in ["mentions", "mentioned", "thread", "thread but mentions"] {
            let world = PushWorld()
            world.recipients = [recipient(bob)]
            world.messages = [message(1, wish == "mentioned" ? "to @\(bob)" : "plain")]
            world.answers = ["2-0": [.failed("500")]]
            let offline = world.offline()
            try push(offline, through: 1)
            if wish.hasPrefix("thread") {
                world.recipients = [recipient(bob, silences: true)]
                world.silenced = [
                    SilencedMessage(user: bob, message: message(1).id, exceptMentions: wish != "thread")
                ]
            } else {
                world.recipients = [recipient(bob, wish: .mentions)]
            }
            world.now += 10_000
            try offline.retryDue()
            #expect(world.sent.count == (wish == "mentioned" ? 2 : 1), "\(wish)")
        }
    }

    /// The newer one took the older one's place: when it is deleted, the older one is still owed.
    @Test func whatADeletedMessageTookThePlaceOfIsPushed() throws {
        for isSilent in [true, false] {
            for isTold in [true, false] {
                let world = PushWorld()
                world.recipients = [recipient(bob, silent: isSilent)]
                world.messages = [message(1)]
                world.answers = ["2-0": [.failed("500")]]
                let offline = world.offline()
                try push(offline, through: 1)
                world.messages = [message(2), message(1)]
                try push(offline, through: 2)
                world.messages = [message(3), message(2), message(1)]
                try push(offline, through: 3)
                world.messages = [message(1)]
                for seq in isTold ? [3, 2] as [Int64] : [] { try offline.takeBack(message(seq).id, in: room, at: seq) }
                world.now += 10_000
                try offline.retryDue()
                #expect(world.sent == ["2-0 message 1 badge 9", "2-0 message 1 badge 9"], "\(isSilent) \(isTold)")
            }
        }
    }

    @Test(arguments: [Int.min, -1, 0, 9_223_372_036_854_776, .max]) func aWaitOfAnyLengthIsBounded(seconds: Int) throws
    {
        for kind in [PushKind.webPush, .apns, .webhook] {
            let world = PushWorld()
            world.recipients = [recipient(bob, kind)]
            world.messages = [message(1)]
            world.answers = ["2-0": [.later(seconds: seconds)]]
            let offline = world.offline()
            try push(offline, through: 1)
            world.now += 300_000
            try offline.retryDue()
            #expect(world.sent.count == 2, "\(kind)")
        }
        let world = PushWorld()
        world.recipients = [recipient(bob, .fcm)]
        world.messages = [message(1)]
        world.answers = ["2-0": [.later(seconds: seconds)]]
        try push(world.offline(), through: 1)
        #expect(world.paused.allSatisfy { (1000...300_000).contains($0) } && world.sent.count == 2)
    }

    /// The sentence of docs/push.md, by the clock: whatever a user's servers do, over any time.
    @Test(arguments: [300, 850, 5000, 10_000] as [Int64]) func aUserCostsAtMostATenthBeyondABurst(took: Int64) throws {
        world.recipients = [recipient(bob, devices: 12)]
        world.slow = ["2": took]
        let offline = world.offline()
        let begun = world.now
        for seq in 1...200 as ClosedRange<Int64> {
            world.messages = [message(seq)]
            try push(offline, through: seq)
            try offline.takeBack(message(seq).id, in: room, at: seq)
            try offline.clear(room, of: bob, through: seq)
            for _ in 0..<5 {
                world.now += 1000
                try offline.retryDue()
            }
            let busy = Int64(world.sent.count) * took
            #expect(busy <= 2000 + took + (world.now - begun) / 10)
        }
        #expect(world.sent.count > 1)
    }

    /// Each member has a server that takes its five seconds, another one for each: nobody else waits for all of them.
    @Test func manyUsersWithSlowServersCostOthersLittle() throws {
        world.messages = [message(1)]
        world.recipients = (1000..<2000).map {
            recipient(UUID128(high: 1, low: $0), address: "https://push\($0).example.org/")
        }
        world.slow = ["1": 5000]
        let offline = world.offline()
        let begun = world.now
        try push(offline, through: 1)
        try offline.takeBack(message(1).id, in: room, at: 1)
        #expect(world.now - begun <= 20_000)
        // A turn that repeats is short: the queue's turn comes between.
        for _ in 0..<100 {
            world.now += 1000
            let before = world.now
            try offline.retryDue()
            #expect(world.now - before <= 6000)
        }
        #expect(Int64(world.sent.count) * 5000 <= 20_000 + (world.now - begun) / 3)
        // A server that answers fast all the time is not theirs.
        world.recipients = [recipient(carl, address: "https://fast.example.org/")]
        world.now += 3_600_000
        for seq in 2...100 as ClosedRange<Int64> {
            world.messages = [message(seq)]
            try push(offline, through: seq)
        }
        world.sent = []
        world.recipients = (2000..<3000).map {
            recipient(UUID128(high: 1, low: $0), address: "https://push\($0).example.org/")
        }
        world.slow = ["2": 5000]
        world.messages = [message(101)]
        try push(offline, through: 101)
        world.recipients = [recipient(carl, address: "https://fast.example.org/")]
        try push(offline, through: 101)
        #expect(world.sent.contains("3-0 message 101 badge 9"))
    }

    @Test func aServerThatIsSlowToSucceedRestsForAllItsUsers() throws {
        world.messages = [message(1)]
        world.recipients = (100..<200).map {
            recipient(UUID128(high: 1, low: $0), address: "https://push.example.org/\($0)")
        }
        world.slow = ["1": 3000]
        let offline = world.offline()
        let begun = world.now
        try push(offline, through: 1)
        #expect(world.now - begun == 3000)
        for _ in 0..<1000 {
            world.now += 1000
            try offline.retryDue()
        }
        #expect(Int64(world.sent.count) * 3000 <= 3000 + (world.now - begun) / 10)
    }

    /// Each of the two requests counts, and has to wait for its turn.
    @Test func whatIsTooLargeIsSentWithoutItsTexts() throws {
        for took in [0, 5000] as [Int64] {
            let world = PushWorld()
            world.messages = [message(1)]
            world.recipients = [recipient(bob)]
            world.answers = ["2-0": [.tooLarge]]
            world.slow = ["2": took]
            let offline = world.offline()
            try push(offline, through: 1)
            #expect(world.sent.count == (took == 0 ? 2 : 1))
            world.now += 60_000
            try offline.retryDue()
            #expect(world.sent == ["2-0 message 1 badge 9", "2-0 message 1 lean badge 9"])
            #expect(world.counted.sent == 1)
        }
        world.messages = [message(1)]
        world.recipients = [recipient(bob)]
        world.answers = ["2-0": [.tooLarge, .tooLarge]]
        try push(world.offline(), through: 1)
        #expect(world.sent.count == 2 && world.counted.failed == 1)
    }

    @Test func aStopEndsTheWorkAtOnceAndLosesNothing() throws {
        for kind in PushKind.allCases {
            let world = PushWorld()
            world.messages = [message(1)]
            world.recipients = [recipient(bob, kind, devices: 3), recipient(carl, kind)]
            world.stopsInside = true
            let offline = world.offline()
            #expect(throws: PushOffline.Stopped.self) { try push(offline, through: 1) }
            #expect(throws: PushOffline.Stopped.self) { try push(offline, through: 1) }
            #expect(world.badges.count == 1 && world.counted == .init())
            // The job comes again, to the next worker.
            (world.isStopped, world.stopsInside) = (false, false)
            try push(world.offline(), through: 1)
            #expect(world.sent.count == 4)
        }
    }

    @Test func whatWaitsIsHandedOverWhenItsWorkerEnds() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob, devices: 2), recipient(carl)]
        world.answers = ["2-1": [.failed("500")], "3-0": [.failed("500")]]
        let offline = world.offline()
        try push(offline, through: 1)
        world.messages = [message(2), message(1)]
        try push(offline, through: 2)
        world.now += 10_000
        world.stopsInside = true
        #expect(throws: PushOffline.Stopped.self) { try offline.retryDue() }
        (world.isStopped, world.stopsInside) = (false, false)
        let jobs = try PushJob.decode(PushJob.encode(offline.handOver()))
        #expect(jobs.count == 2)
        world.sent = []
        // The newer one was deleted meanwhile; one job comes twice.
        world.messages = [message(1)]
        let next = world.offline()
        for job in jobs + jobs { try next.resume(job) }
        try next.retryDue()
        #expect(world.sent.sorted() == ["2-1 message 1 badge 9", "3-0 message 1 badge 9"])
    }

    @Test func whatWaitsOutlivesAStoreThatIsAway() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob), recipient(carl)]
        world.answers = ["2-0": [.failed("500")], "3-0": [.failed("500")]]
        let offline = world.offline()
        try push(offline, through: 1)
        world.now += 10_000
        world.isAway = true
        #expect(throws: StoreError.self) { try offline.retryDue() }
        world.isAway = false
        try offline.retryDue()
        #expect(world.counted.sent == 2)
    }

    /// Otherwise it would come again for ever, and nothing behind it.
    @Test func whatTheStoreRefusesForGoodIsGivenUp() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob), recipient(carl)]
        world.answers = ["2-0": [.failed("500")], "3-0": [.failed("500")]]
        let offline = world.offline()
        try push(offline, through: 1)
        world.now += 10_000
        (world.isAway, world.isRefusing) = (true, true)
        try offline.retryDue()
        #expect(world.counted.failed == 2)
    }

    @Test func oneUserCannotTakeTheRoomOfAll() throws {
        var retries = PushRetries()
        func add(_ user: UUID128, _ number: Int) -> Bool {
            let device = PushDevice(user: user, id: "\(number)", kind: .webPush, address: "a")
            return retries.add(
                PushRetries.WaitingPush(
                    push: Push(room: room, content: .seen(seq: 1)), device: device, dueAt: 1, tries: 0))
        }
        #expect((0..<100).map { add(bob, $0) }.filter { $0 }.count == PushRetries.maxOfUser)
        #expect(add(carl, 1))
        #expect(retries.take(1000, at: 1).count == PushRetries.maxOfUser + 1)
        #expect(add(bob, 1) && retries.count == 1)
    }

    @Test func aDeviceThatIsGoneIsForgotten() throws {
        world.messages = [message(1)]
        world.recipients = [recipient(bob, devices: 2)]
        world.answers = ["2-1": [.unregistered]]
        try push(world.offline(), through: 1)
        #expect(world.forgotten == ["2-1"] && world.counted.devicesForgotten == 1)
    }
}
