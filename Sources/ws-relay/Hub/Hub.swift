import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// The relay's state and its changes: sockets, their users, their rooms, and the writes of this tick.
///
/// One thread owns it and never blocks: slow work is requested through the outlets, and the answers arrive as events.
/// Everything for a socket in one tick leaves in one write at its end (`flush`).
final class Hub {
    /// Bytes of one read, and of one joined write.
    static let readSize = 65_536
    static let writeSize = 262_144

    let settings: RelaySettings
    let origins: OriginRule
    let tokens: RevocableTokens
    let feed: any Feed
    let commands: any CommandOutlet
    let lookups: any LookupOutlet
    let ephemerals: any EphemeralOutlet
    let log: Logger

    /// The relay's id in command origins; together with `serial` it is never reused.
    let relayID: UInt64
    var serial: UInt64 {
        get { memory.header.pointee.serial }
        set { memory.header.pointee.serial = newValue }
    }
    /// The number of a fetch or look-up; an answer with an older number is stale and dropped.
    var epoch: UInt64 = 0

    let epoll = Epoll()
    /// The memory that survives a crash.
    let memory: RelayMemory
    let connections: ConnectionTable
    var slow: [UInt32: SlowState] = [:]
    var slots: [UInt64: UInt32] = [:]
    /// Of the sockets that get events.
    var streams: [UInt32: EventStream] = [:] {
        didSet { memory.hasEvents = !streams.isEmpty }
    }
    /// Slots of long polls that have something to be answered with, at the end of the tick.
    var answeredPolls: [UInt32] = []
    let users: UserTable
    var rooms: [UUID128: TrackedRoom] = [:]
    /// Rooms that the timer must check: a fetch to repeat, or a Seq that is overdue.
    var troubled: Set<UUID128> = []
    /// Users whose memberships are read again in the next second.
    var reloads: Set<UUID128> = []
    /// Cached rooms of recently requested messages.
    var messageRooms: [UUID128: UUID128] = [:]
    let unanswered: UnansweredCommands
    var rates = RateLedger()
    /// Fresh sockets whose frames wait for a resume, oldest first.
    var holds: [Hold] = []
    /// Users whose last socket just closed, and when: a client that reconnects at once was never offline.
    var departures: [UUID128: (rooms: [UUID128], at: UInt32)] = [:]
    /// Presence frames that may still be sent in this second.
    var presenceBudget = Hub.presenceRate
    let writes: TickWrites
    /// The queue of resumes, and the requests that wait for them, by number.
    var resumes = ResumeQueue()
    var resumeRequests: [UInt64: ResumeRequest] = [:]
    /// Bytes of resent frames so far.
    var resumedBytes = 0
    /// The time of each user's last typing frame in a room, within the last second.
    var typed: [TypingKey: Int64] = [:]
    /// Each user's typing frames in this second.
    var typedByUser: [UUID128: Int] = [:]
    var typingBudget = Hub.typingRate
    /// Sockets that were closed or lost in this tick: they leave their users at its end.
    var leaving: [UInt32] = []
    /// nil: compression is not offered.
    let deflate: Deflate?
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: readSize, alignment: 64)
    let output = UnsafeMutableRawBufferPointer.allocate(byteCount: writeSize, alignment: 64)
    var counters = Counters()
    /// nil: nobody asks how long things take.
    var timings: RelayTimings?
    /// Commands that wait for the room of their message, and upgrades that wait for their ticket.
    var waitingLookups = 0
    /// The marker of a hand-over has arrived in the feed.
    var markerSeen = false
    /// Descriptors that a successor has; they are to be closed here.
    var lettingGo: [Int32] = []
    /// The process is ending: no new socket is accepted.
    var isEnding = false
    var drain = Drain()
    /// The rate of handshakes of all clients together.
    var handshakes = RateBucket()
    /// The number of sockets of each address, by its hash; only when addresses are limited.
    var addresses: [UInt64: Int] = [:]

    /// Milliseconds of the monotonic clock, and of Unix time; set by `beginTick`.
    private(set) var milliseconds: Int64 = 0
    private(set) var unixMilliseconds: Int64 = 0
    private(set) var now: UInt32 = 0

    struct Counters {
        var accepted = 0
        var refused = 0
        var requests = 0
        var deliveries = 0
        var writes = 0
        var bytesWritten = 0
        var slowClosed = 0
        var fetches = 0
        var typingDropped = 0
        var resumesRefused = 0
        /// Rooms that clients asked to be caught up in, sockets that asked, and rooms that need REST instead.
        var resumes = 0
        var reconnects = 0
        var resyncs = 0
    }

    init(
        settings: RelaySettings, relayID: UInt64, tokens: any TokenVerifier, feed: any Feed,
        commands: any CommandOutlet, lookups: any LookupOutlet, ephemerals: any EphemeralOutlet,
        memory: RelayMemory, writesPerTick: Int? = nil, log: Logger
    ) {
        self.settings = settings
        self.memory = memory
        self.relayID = relayID
        self.tokens = RevocableTokens(tokens)
        self.feed = feed
        self.commands = commands
        self.lookups = lookups
        self.ephemerals = ephemerals
        self.log = log
        origins = OriginRule(settings.origins)
        deflate = settings.deflate ? Deflate() : nil
        connections = ConnectionTable(memory)
        writes = TickWrites(connections: connections.capacity, capacity: writesPerTick)
        users = UserTable(memory)
        unanswered = UnansweredCommands(memory.journal)
        memory.header.pointee.relayID = relayID
        feed.subscribe(BusChannel.relay(relayID))
    }

    deinit {
        connections.forEach { connections.bury($0) }
        connections.reap { _, descriptor in Glibc.close(descriptor) }
        input.deallocate()
        output.deallocate()
    }

    /// Reads the clocks once per tick.
    func beginTick(milliseconds: Int64, unixMilliseconds: Int64) {
        self.milliseconds = milliseconds
        self.unixMilliseconds = unixMilliseconds
        now = UInt32(truncatingIfNeeded: milliseconds / 1000)
    }

    /// Sends what the tick gathered: one write per socket, one AMQP message per queue. Only then do sockets leave their
    /// users and slots become free. Code that iterates over sockets, users or rooms must not call it.
    func endTick() {
        commands.endTick()
        answerPolls()
        let begun = writes.dirty.isEmpty ? 0 : monotonicNow()
        flush()
        if begun != 0 { timings?.socketWrite.observe(monotonicNow() - begun) }
        reap()
        // After the flush, which shows which sockets accept their bytes.
        askResumes()
    }

    /// Called between two events: ends the tick when it is full.
    func endTickIfFull() { if writes.isFull { endTick() } }

    func nextEpoch() -> UInt64 {
        epoch += 1
        return epoch
    }

    // MARK: Sending

    func frames(for flags: Connection.Flags) -> ClientFrames {
        ClientFrames(isJSON: flags.contains(.json), deflate: flags.contains(.deflated) ? deflate : nil)
    }

    /// Queues a frame for the end of the tick.
    @inline(__always)
    func push(_ frame: UInt32, to slot: UInt32) {
        writes.push(frame, to: slot, connections)
        counters.deliveries += 1
    }

    /// Sends a frame to one socket; does nothing when that is closing or gone.
    func send(_ frame: SharedFrame, to slot: UInt32) {
        guard !connections[slot].flags.contains(.closing) else { return }
        push(writes.add(frame), to: slot)
    }

    func reply(_ body: FrameBody, _ kind: FrameKind = .response, sign: String? = nil, to slot: UInt32) {
        tell(body, kind, sign: sign, place: nil, to: slot)
    }

    /// The frame in the socket's own form.
    func tell(_ body: FrameBody, _ kind: FrameKind, sign: String?, place: SharedFrame.Place?, to slot: UInt32) {
        if connections[slot].getsEvents {
            tell(.event(body, kind, place: place), kind, to: slot)
        } else {
            send(frames(for: connections[slot].flags).make(body, kind, sign: sign, place: place), to: slot)
        }
    }

    func refuse(_ refusal: Refusal, sign: String?, to slot: UInt32) {
        reply(FrameBody(refusal), sign: sign, to: slot)
    }
}
