import ChatAdapters
import ChatCore
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct QueueGenerationTests {
    private let generations: PostgresQueueGenerations

    init() throws { generations = PostgresQueueGenerations(try TestDatabase().connection()) }

    private func layout(_ generation: Int, _ total: Int) -> QueueLayout {
        QueueLayout(generation: generation, total: total, byUser: false)
    }

    @Test func ofTwoWhoBeginAtOnceOneDoesIt() throws {
        #expect(try generations.newest() == nil)
        try generations.begin(layout(1, 10), setting: "a")
        try generations.begin(layout(1, 20), setting: "b")
        #expect(try generations.newest() == layout(1, 10))
    }

    @Test func aGenerationIsDrainedByItsLastEndMark() throws {
        try generations.begin(layout(1, 2), setting: "a")
        try generations.begin(layout(2, 3), setting: "a")
        try generations.close(1)
        // A repeated mark counts once.
        for _ in 0..<2 { try generations.end(queue: 0, of: 1) }
        #expect(try generations.all().map(\.isDrained) == [false, false])
        try generations.end(queue: 1, of: 1)
        #expect(try generations.all().map(\.isDrained) == [true, false])
        try generations.remove(1)
        #expect(try generations.all().map(\.layout) == [layout(2, 3)])
    }
}

@Suite struct QueueLayoutTests {
    @Test(arguments: [(1, 10, false), (7, 1000, true), (2_000_000, 1, false)])
    func fitsIntoOneWord(generation: Int, total: Int, byUser: Bool) {
        let layout = QueueLayout(generation: generation, total: total, byUser: byUser)
        #expect(QueueLayout(packed: layout.packed) == layout)
    }

    @Test func theKeyIsTheRoomOrTheUser() {
        let (room, user) = (UUID128(high: 1, low: 2), UUID128(high: 3, low: 4))
        let command = Command(id: room, room: room, actor: user, acceptedAt: 1, action: .deleteRoom)
        for (byUser, key) in [(false, room), (true, user)] {
            let layout = QueueLayout(generation: 1, total: 97, byUser: byUser)
            #expect(layout.index(command) == queueIndex(of: key, queues: 97))
        }
    }
}
