import Testing

@testable import ChatCore

@Suite struct ServerURLTests {
    private struct Missing: Error {}

    private func hosts(_ text: String) throws -> [String] {
        try RabbitMQServers(text).all.map {
            "\($0.isTLS ? "tls " : "")\($0.user):\($0.password)@\($0.host)/\($0.vhost)"
        }
    }

    @Test(arguments: [
        ("amqp://", ["guest:guest@127.0.0.1:5672//"]),
        ("amqp://a:b@h:1/v", ["a:b@h:1/v"]),
        ("amqps://a:b@h/", ["tls a:b@h:5671//"]),
        ("amqp://a:b@h1,h2:7,[::1]:8/v%2Fw", ["a:b@h1:5672/v/w", "a:b@h2:7/v/w", "a:b@[::1]:8/v/w"]),
        ("amqp://a:b@h1/v,amqps://c:d%2C%40@h2", ["a:b@h1:5672/v", "tls c:d,@@h2:5671//"]),
        ("AMQP://%70:p@ss@h", ["p:p@ss@h:5672//"]),
    ])
    func brokers(_ text: String, _ expected: [String]) throws {
        #expect(try hosts(text) == expected)
    }

    @Test(arguments: [
        "", "nonsense", "http://h", "amqp://h:", "amqp://h:0", "amqp://h:65536", "amqp://h:+5", "amqp://[::1",
        "amqp://::1",
        "amqp://a:%zz@h", "amqp://a:%@h", "amqp://a:b%00@h", "amqp://a:b%ff@h", "amqp://h?x=1", "amqp://a b",
        "amqp://h1,http://h2",
    ])
    func whatIsNoURLOfABroker(_ text: String) {
        #expect(throws: ServerURL.Problem.self) { try RabbitMQServers(text) }
    }

    @Test func aProblemHasNoPassword() {
        for text in [
            "amqp://user:hidden@h:x", "amqp://user:hidden%zz@h", "nonsense:hidden@x", "redis://:hidden@h:99999",
        ] {
            let asBroker = #expect(throws: ServerURL.Problem.self) { try RabbitMQServers(text) }
            #expect(asBroker?.description.contains("hidden") == false)
        }
        let asRedis = #expect(throws: ServerURL.Problem.self) { try RedisServers("redis://:hidden@h:99999") }
        #expect(asRedis?.description.contains("hidden") == false)
    }

    @Test func waysToRedis() throws {
        let plain = try RedisServers("redis://us%65r:p%40ss@[::1]:7/3")
        #expect(plain.user == "user" && plain.password == "p@ss" && plain.database == 3 && !plain.isTLS)
        guard case .hosts(let hosts) = plain.way else { throw Missing() }
        #expect(hosts == [ServerURL.Host("::1", 7)])
        // The old meaning stays.
        for text in ["redis://:word@h", "redis://word@h"] {
            let old = try RedisServers(text)
            #expect(old.user == nil && old.password == "word")
        }
        let guarded = try RedisServers("rediss+sentinel://u:p@s1,s2:9/main/2?sentinel_password=w&cacertfile=/a%20b")
        guard case .sentinels(let sentinels, "main") = guarded.way else { throw Missing() }
        #expect(sentinels == [ServerURL.Host("s1", 26_379), ServerURL.Host("s2", 9)])
        #expect(guarded.database == 2 && guarded.isTLS && guarded.files.authorities == "/a b")
        #expect(guarded.sentinelPassword == "w")
        guard case .socket("/run/redis.sock") = try RedisServers("unix:///run/redis.sock?db=4").way else {
            throw Missing()
        }
        let cluster = try RedisServers("rediss+cluster://u:p@n1,[::1]:7/0")
        guard case .cluster(let nodes) = cluster.way else { throw Missing() }
        #expect(nodes == [ServerURL.Host("n1", 6379), ServerURL.Host("::1", 7)] && cluster.isTLS && cluster.isCluster)
    }

    @Test(arguments: [
        "", "http://h", "redis://h/x", "redis://h/-1", "redis+sentinel://h", "redis+sentinel://h/", "unix://",
        "redis+cluster://h/1",
        "unix://x",
        "unix:///x?y=1", "unix:///x?db=y", "redis://h?cacert=1", "redis://a:%4@h",
    ])
    func whatLeadsToNoRedis(_ text: String) {
        #expect(throws: ServerURL.Problem.self) { try RedisServers(text) }
    }

    @Test func filesOfTLSAreNamedWhereTheyAreNeeded() throws {
        let files = TLSFiles(authorities: "/c a", certificate: "/c", key: "/k")
        #expect(RedisServers.naming(files, in: "redis://h") == "redis://h")
        let named = try RedisServers(RedisServers.naming(files, in: "rediss://h/1?cacertfile=/own"))
        #expect(named.files == TLSFiles(authorities: "/own", certificate: "/c", key: "/k") && named.database == 1)
        #expect(try RedisServers(RedisServers.naming(files, in: "rediss://h")).files == files)
    }
}
