import ChatAdapters
import ChatCore
import TestSupport
import Testing

@Suite struct RedisSessionsTests {
    @Test func anOutageIsLoggedOnce() throws {
        let memory = MemoryLog()
        let cache = RedisSessions(try RedisConnection(url: "redis://127.0.0.1:1"), log: memory.log)
        let session = HostSession(user: try HostUser("4711"), askedAt: 1000, freshUntil: 2000)
        for _ in 0..<20 {
            #expect(cache.find([1]) == nil)
            cache.keep(session, [1], for: .seconds(60))
            cache.drop([1])
        }
        #expect(memory.lines.count == 1)
    }

    /// A header that is missing and another one with its value are two questions.
    @Test func theNameOfAHeaderIsAPartOfTheQuestion() {
        let settings = Settings.test(["WEBHOOK_SECRET": String(repeating: "s", count: 32)]).hooks
        let check = HostSessionCheck(settings)
        let keys = ["X-Tenant", "User-Agent"].map { name in
            check.key(
                of: SessionQuestion(
                    cookies: "sid=1", headers: [(name, "value")], address: "192.0.2.1", network: [192, 0, 2, 1]))
        }
        #expect(keys[0] != keys[1])
    }
}
