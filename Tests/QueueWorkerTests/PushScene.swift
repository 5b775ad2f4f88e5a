import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport

@testable import ChatProcess
@testable import queue_worker

/// One push worker between a broker, the users' devices and the push marks in memory. It has the clock of its
/// `PushWorld`. A push is due 20 seconds after its message.
final class PushScene {
    let folder: String
    let settings: Settings
    let broker = MemoryBroker()
    let place: ConsumerScene.Place
    let world = PushWorld()
    /// Of every wait, in milliseconds.
    var waits: [Int] = []
    var duringWait: () -> Void = {}
    private(set) var consumer: PushConsumer!

    let bob = UUID128(high: 1, low: 2)
    let room = UUID128(high: 2, low: 1)
    let otherRoom = UUID128(high: 2, low: 2)

    init() {
        folder = "/tmp/push-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
        var settings = Settings.test(["PUSH_DELAY_SECONDS": "20"])
        settings.runDirectory = folder
        self.settings = settings
        place = ConsumerScene.Place(folder: folder)
        world.messages = [
            PushMessage(
                id: UUID128(high: 3, low: 1), sender: UUID128(high: 1, low: 1), seq: 1, contentType: .text,
                content: "hello", roomName: "R")
        ]
        world.recipients = [recipient(bob)]
        start()
    }

    /// Another worker, as after a crash of the one before.
    func start() {
        consumer = PushConsumer(
            settings: settings, channel: place, broker: broker,
            clock: WorkerClock(
                now: { [unowned self] in world.now },
                wait: { [unowned self] milliseconds, descriptors in
                    guard !descriptors.contains(MemoryBroker.descriptor) || !broker.hasNews else { return }
                    waits.append(milliseconds)
                    world.now += Int64(milliseconds)
                    duringWait()
                }), log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { [world] in world.offline(pause: $0) }
    }

    /// The worker's process ends without a word: what it has in hand goes back.
    func crash() {
        broker.cut()
        consumer = nil
    }

    func rounds(_ count: Int) { for _ in 0..<count { _ = consumer.serveOnce() } }

    /// Rounds until the messages that came are due, and one more.
    func passDelay() {
        let end = world.now + 20_000
        while world.now < end { rounds(1) }
        rounds(1)
    }

    // MARK: Jobs

    var queue: String { settings.rabbitMQ.pushQueueName }
    var waiting: [MemoryBroker.Message] { broker.messages(of: queue) }

    func recipient(_ user: UUID128, _ kind: PushKind = .webPush) -> PushRecipient {
        let device = PushDevice(user: user, id: "\(user.low)-0", kind: kind, address: "a", takesSilent: true)
        return PushRecipient(user: user, devices: [device], lastSeenSeq: 0, unread: 1)
    }

    /// As one AMQP message.
    func put(_ jobs: PushJob...) { broker.put(PushJob.encode(jobs), into: queue) }

    func message(in room: UUID128, seq: Int64 = 1) -> PushJob { .messages(room: room, seq: seq, at: 1000) }

    func seen(_ room: UUID128, through seq: Int64 = 1) -> PushJob { .seen(room: room, user: bob, seq: seq) }

    /// As a worker that crashed while it handled this left it.
    func leaveDeath(_ key: String) {
        let file = open("\(folder)/queue-worker.attempts/\(key)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(file) }
        let text = "tried by process 1\n\(CrashReport.mark)11 (Segmentation fault)\nframe 0\n"
        precondition(write(file, text, text.utf8.count) == text.utf8.count)
    }

    func key(of job: PushJob) -> String { "push-" + String(fnv1a64(PushJob.encode([job])), radix: 16) }
}
