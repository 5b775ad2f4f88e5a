import ChatAdapters
import ChatCore
import Glibc
import TestSupport
import Testing

@Suite struct UnusablePrimaryTests {
    /// A disk that is full, a primary that was cut off from its replicas: another one takes over, and the next connection asks who.
    @Test(arguments: ["MISCONF Errors writing to the AOF file", "NOREPLICAS Not enough good replicas to write."])
    func aPrimaryThatCannotWriteIsLeft(_ answer: String) throws {
        let greeting = "-ERR no cluster\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
        let port = scriptedServer([[greeting, "-\(answer)\r\n"], [greeting, ":0\r\n"]])
        let bus = RedisFrameBus(try RedisConnection(url: "redis://127.0.0.1:\(port)"))
        let error = #expect(throws: BusError.self) { try bus.check() }
        #expect(error?.description.contains(answer) == true)
        try bus.check()
    }
}

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct RedisFrameBusTests {
    private let room = UUID128.v7(at: systemClock())

    private func frame(_ seq: UInt64) -> RoomFrame {
        RoomFrame(seq: seq, kind: .newMessage, body: FrameBody(room: room, seq: Int64(seq)) { $0.int(Int64(seq)) })
    }

    private func notice(_ seqs: [UInt64]) -> Notice {
        Notice(frames: [FrameChunk(room: room, frames: seqs.map { frame($0) })])
    }

    @Test func subscribersGetEventsThenFramesThenAnswers() throws {
        let user = UUID128.v7(at: systemClock())
        let subscription = try RedisSubscription(url: TestServers.settings!.redisURL)
        try subscription.connect(timeout: 1000)
        let channels = [BusChannel.room(room), BusChannel.user(user), BusChannel.relay(5)]
        subscription.subscribe(channels)
        var subscribed: [String] = []
        var messages: [(String, [UInt8])] = []
        func pump(until done: () -> Bool) throws {
            let deadline = monotonicMilliseconds() + 5000
            while !done(), monotonicMilliseconds() < deadline {
                if subscription.wantsWrite { try subscription.flush() }
                _ = try subscription.readAvailable { event in
                    switch event {
                    case .subscribed(let channel): subscribed.append(channel)
                    case .message(let channel, let payload): messages.append((channel, payload))
                    default: break
                    }
                }
                usleep(1000)
            }
        }
        try pump { subscribed.count == 3 }
        #expect(subscribed == channels)
        var notice = notice([1])
        let event = UserEvent.joined(room: room, seq: 0, created: nil)
        notice.userEvents = [(user, event)]
        notice.answers = [(5, RelayAnswer(socket: 1, frame: [9]))]
        try RedisFrameBus(try TestServers.redis()).publish(notice)
        try pump { messages.count == 3 }
        #expect(messages.map(\.0) == [channels[1], channels[0], channels[2]])
        #expect(try UserEvent.decode(messages[0].1) == event)
        #expect(try FrameChunk.decode(messages[1].1).frames == [frame(1)])
        #expect(try RelayAnswer.decode(messages[2].1).frame == [9])
    }

    @Test func aConnectionThatWasClosedWhileNobodyUsedItIsOpenedAgain() throws {
        let (connection, other) = (try TestServers.redis(), try TestServers.redis())
        for _ in 0..<3 {
            guard case .int(let id) = try connection.command(["CLIENT", "ID"].map { RedisWord(word: $0) }) else {
                Issue.record("no id")
                return
            }
            let killed = try other.command(["CLIENT", "KILL", "ID", "\(id)"].map { RedisWord(word: $0) })
            // Redis answers when it has closed the other one.
            #expect(killed == .int(1))
        }
        #expect(try connection.command([RedisWord(word: "PING")]) == .status("PONG"))
    }

    @Test func nobodyThere() throws {
        let connection = try RedisConnection(url: "redis://127.0.0.1:1")
        let error = #expect(throws: RedisError.self) { try connection.command([RedisWord(word: "PING")]) }
        #expect(error?.isConnection == true)
        #expect(throws: RedisError.self) { try RedisConnection(url: "http://x") }
    }
}
