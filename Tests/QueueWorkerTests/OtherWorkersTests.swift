import ChatCore
import Glibc
import Logging
import TestSupport
import Testing

@testable import queue_worker

/// The place of a worker, and a clock that goes on only while the worker waits.
private final class Scene {
    let place: ConsumerScene.Place
    var now: Int64 = 1_000_000
    var waits: [Int] = []
    /// The number of waits after which the master says quit.
    var most = 5
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init() {
        let folder = "/tmp/worker-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
        place = ConsumerScene.Place(folder: folder)
    }

    var clock: WorkerClock {
        WorkerClock(
            now: { [unowned self] in now },
            wait: { [unowned self] milliseconds, _ in
                waits.append(milliseconds)
                now += Int64(milliseconds)
                if waits.count >= most { place.mustQuit = true }
            })
    }

    func counted(_ counter: Int) -> Int { place.scoreboard.counter(counter) }
}

private let away = StoreError("away", isTransient: true)

@Suite struct HookWorkerTests {
    private final class Outbox: HookOutbox {
        var waiting: [PendingHook] = []
        var failures: [StoreError] = []
        var timesAsked = 0

        func put(_ count: Int) {
            waiting = (0..<count).map {
                PendingHook(key: HookKey(room: .zero, seq: Int64($0)), name: "x", body: [], attempts: 0)
            }
        }

        func claim(_ most: Int, lease: Int) throws(StoreError) -> [PendingHook] {
            timesAsked += 1
            if !failures.isEmpty { throw failures.removeFirst() }
            return Array(waiting.prefix(most))
        }
        func delivered(_ hook: HookKey) throws(StoreError) { waiting.removeAll { $0.key == hook } }
        func failed(_ hook: HookKey, _ error: String, again: Int?) throws(StoreError) { try delivered(hook) }
        func dead(_ most: Int) throws(StoreError) -> [PendingHook] { [] }
        func retryDead() throws(StoreError) -> Int { 0 }
        func dropDead() throws(StoreError) -> Int { 0 }
        func add(_ events: [HookEvent]) throws(StoreError) {}
        func replace(with items: [UserNewsItem]) throws(StoreError) {}
    }

    private let scene = Scene()
    private let outbox = Outbox()

    private func serve(
        _ send: @escaping (PendingHook) -> String? = { _ in nil }, news: @escaping () throws -> Void = {}
    ) {
        let delivery = DeliverHooks(outbox: outbox, attempts: 3, timeout: .milliseconds(10), log: scene.log, send: send)
        HookWorker(scene.place, delivery, takeNews: news, clock: scene.clock, scene.log).serve()
    }

    @Test func eventsDoNotWaitForTheNewsOfUsers() {
        outbox.put(50)
        var asked = 0
        serve(news: {
            asked += 1
            throw BusError("Redis is away")
        })
        #expect(scene.counted(Counter.hooks) == 50 && asked == 1)
    }

    /// A host that is behind gets everything without a pause.
    @Test func itRestsOnlyWhenNothingWasDue() {
        outbox.put(50)
        var refused = false
        serve { _ in
            defer { refused = true }
            return refused ? nil : "500"
        }
        #expect(scene.place.timesReady == 1)
        #expect(scene.counted(Counter.hooks) == 49 && scene.counted(Counter.hookFailures) == 1)
        #expect(scene.waits == [300, 300, 300, 300, 300])
        // Three claims with something in them.
        #expect(outbox.timesAsked == 3 + 5)
    }

    @Test func itRestsLongerWhileTheDatabaseIsAway() {
        outbox.failures = [away, away]
        scene.most = 3
        serve()
        #expect(scene.waits == [3000, 3000, 300])
    }

    @Test func aStopEndsItBetweenTwoEvents() {
        outbox.put(5)
        serve { _ in
            scene.place.mustQuit = true
            return nil
        }
        #expect(scene.counted(Counter.hooks) == 1 && outbox.waiting.count == 4)
        #expect(scene.waits.isEmpty)
    }
}

@Suite struct RetentionWorkerTests {
    private let scene = Scene()

    @Test func itRemovesAtOnceAndThenEveryTenMinutesAlsoAfterAnOutage() {
        scene.most = 1500
        let begun = scene.now
        var times: [Int64] = []
        RetentionWorker(scene.place, clock: scene.clock, scene.log) { [scene] _ throws(StoreError) in
            times.append(scene.now - begun)
            if times.count == 1 { throw away }
            return 1
        }.serve()
        #expect(times == [0, 600_000, 1_200_000])
        #expect(scene.place.timesReady == 1)
        // A stop is heard within a second.
        #expect(scene.waits.allSatisfy { $0 == 1000 })
    }

    @Test func aStopEndsARemovalInTheMiddle() {
        var parts = 0
        RetentionWorker(scene.place, clock: scene.clock, scene.log) { [scene] goOn in
            while goOn() {
                parts += 1
                if parts == 3 { scene.place.mustQuit = true }
            }
            return 0
        }.serve()
        #expect(parts == 3)
    }
}

@Suite struct FilesWorkerTests {
    private final class Leaders: Leadership {
        var leads = true
        var failure: StoreError?
        func lead(_ task: String, _ body: () throws -> Void) throws -> Bool {
            if let failure { throw failure }
            if leads { try body() }
            return leads
        }
    }

    private final class Work {
        /// Files of the next looks.
        var files: [Int] = []
        var sweeps: [Int64] = []
        var alive = 0
        var lookError: StoreError?
    }

    private let scene = Scene()
    private let leaders = Leaders()
    private let work = Work()

    private func serve() {
        FilesWorker(
            scene.place, leaders,
            .init(
                keepAlive: { [work] in work.alive += 1 },
                look: { [work] mayGoOn in
                    if let error = work.lookError { throw error }
                    return work.files.isEmpty ? 0 : work.files.removeFirst()
                },
                sweep: { [work, scene] in
                    work.sweeps.append(scene.now)
                    var swept = SweepUploads.Swept()
                    (swept.abandoned, swept.orphans, swept.deleted) = (1, 2, 4)
                    return swept
                }), pause: 1200, clock: scene.clock, scene.log
        ).serve()
    }

    @Test func itSweepsAtOnceAndThenAtItsInterval() {
        scene.most = 9
        let begun = scene.now
        serve()
        #expect(work.sweeps.map { $0 - begun } == [0, 1200, 2400])
        #expect(scene.waits == [500, 500, 200, 500, 500, 200, 500, 500, 200])
        #expect(scene.counted(Counter.uploadsAbandoned) == 9 && scene.counted(Counter.filesDeleted) == 12)
        #expect(scene.place.timesReady == 1)
    }

    @Test func filesThatWaitAreLookedAtWithoutAPause() {
        work.files = [10, 10, 3]
        scene.most = 1
        serve()
        #expect(scene.counted(Counter.filesLookedAt) == 23 && scene.waits.count == 1)
        // The broker hears of it in each round.
        #expect(work.alive == 4)
    }

    @Test func onlyTheLeaderSweeps() {
        leaders.leads = false
        serve()
        #expect(work.sweeps.isEmpty && scene.waits.count == 5)
    }

    @Test func aServerThatIsAwayEndsNothing() {
        leaders.failure = away
        work.lookError = away
        scene.most = 4
        serve()
        #expect(scene.waits == [500, 500, 200, 500])
    }
}

@Suite struct FileInspectorTests {
    private final class Jobs: FileJobs {
        var waiting: [Message] = []
        func next(after owner: UUID128, limit: Int) throws(StoreError) -> [Message] {
            var seen: Set<UUID128> = []
            return Array(
                waiting.filter { $0.senderID > owner && seen.insert($0.senderID).inserted }
                    .sorted { $0.senderID < $1.senderID }.prefix(limit))
        }
        func done(_ message: UUID128) throws(StoreError) { waiting.removeAll { $0.id == message } }
    }

    private final class Commands: CommandQueue {
        var told: [Command] = []
        func submit(_ command: Command, timeout: Duration) throws(Refusal) -> CommandAnswer {
            told.append(command)
            return .queued
        }
    }

    private let jobs = Jobs()
    private let commands = Commands()
    private let file = FileInfo(name: "a.png", size: 5, contentType: "image/png")

    private func message(_ number: UInt64, of user: UInt64) -> Message {
        Message(
            id: UUID128(high: 3, low: number), roomID: UUID128(high: 2, low: 1), senderID: UUID128(high: 1, low: user),
            seq: Int64(number), changeSeq: Int64(number), content: "", contentType: .image, messageType: .direct,
            createdAt: 0)
    }

    private func inspector(_ describe: @escaping (Message) throws(Refusal) -> FileInfo?) -> FileInspector {
        FileInspector(
            jobs: jobs, commands: commands, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            describe: describe)
    }

    /// One of each in turn, ten in a round.
    @Test func ownersOfManyFilesDelayNobodyElse() throws {
        jobs.waiting = (1...24).map { message($0, of: 1 + ($0 - 1) % 12) }
        var seen: [UInt64] = []
        let inspector = inspector { message throws(Refusal) in
            seen.append(message.senderID.low)
            return nil
        }
        #expect(try inspector.work { true } == 10)
        #expect(try inspector.work { true } == 2)
        #expect(try inspector.work { true } == 10)
        #expect(seen == Array(1...12) + Array(1...10))
        // A stop.
        #expect(try inspector.work { false } == 0)
        #expect(jobs.waiting.count == 2)
    }

    @Test func onlyNewsAreTold() throws {
        jobs.waiting = [message(1, of: 1), message(2, of: 2), message(3, of: 3)]
        jobs.waiting[2].deletedAt = 1
        let inspector = inspector { [file] message throws(Refusal) in message.seq == 2 ? nil : file }
        #expect(try inspector.work { true } == 3)
        #expect(commands.told.map(\.action) == [.describeFile(message: UUID128(high: 3, low: 1), file: file)])
        #expect(jobs.waiting.isEmpty)
    }

    @Test func aServerThatIsAwayLosesNoFileAndAFileAtFaultStopsNothing() throws {
        jobs.waiting = [message(1, of: 1), message(2, of: 2)]
        var isAway = true
        let inspector = inspector { message throws(Refusal) in
            if message.seq == 1 { throw Refusal(.invalid, "no picture") }
            if isAway { throw .unavailable("the store") }
            return nil
        }
        #expect(throws: Refusal.self) { try inspector.work { true } }
        #expect(jobs.waiting.map(\.seq) == [2])
        isAway = false
        #expect(try inspector.work { true } == 1)
        #expect(jobs.waiting.isEmpty)
    }
}
