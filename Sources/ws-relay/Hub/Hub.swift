import ChatAdapters
import ChatCore
import Glibc
import Logging

/// The relay's state and what happens to it: sockets, their users, the rooms they are in, and this tick's writes.
///
/// One thread owns it. It never waits: what takes time is asked for through the outlets, and the answers come back as
/// events. Everything that is due to a socket in one tick leaves in one write at its end (`flush`).
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

    /// This relay's name in command origins; with `serial` it is never used twice.
    let relayID: UInt64
    var serial: UInt64 {
        get { memory.header.pointee.serial }
        set { memory.header.pointee.serial = newValue }
    }
    /// Numbers fetches and look-ups, so that a late answer is known for what it is.
    var epoch: UInt64 = 0

    let epoll = Epoll()
    /// What outlives a crash.
    let memory: RelayMemory
    let connections: ConnectionTable
    var slow: [UInt32: SlowState] = [:]
    var slots: [UInt64: UInt32] = [:]
    let users: UserTable
    var rooms: [UUID128: TrackedRoom] = [:]
    /// Rooms that the timer has to look at: a fetch to repeat, or a Seq that should have come.
    var troubled: Set<UUID128> = []
    /// Users whose memberships are asked for again with the next second.
    var reloads: Set<UUID128> = []
    /// Rooms of messages that were asked for lately.
    var messageRooms: [UUID128: UUID128] = [:]
    let unanswered: UnansweredCommands
    var rates = RateLedger()
    /// Fresh sockets whose frames wait for a resume, oldest first.
    var holds: [Hold] = []
    /// Users whose last socket went a moment ago, and when: a client that reconnects at once was never away.
    var departures: [UUID128: (rooms: [UUID128], at: UInt32)] = [:]
    /// Presence frames that may still be told in this second.
    var presenceBudget = Hub.presenceRate
    let writes: TickWrites
    /// Who gets when what it missed; and the requests that wait for it, by number.
    var resumes = ResumeDesk()
    var resumeRequests: [UInt64: ResumeRequest] = [:]
    /// Bytes of frames that were told again, so far.
    var resumedBytes = 0
    /// When each user was last told to type in a room, in the last second.
    var typed: [TypingKey: Int64] = [:]
    var typingBudget = Hub.typingRate
    /// Sockets that were closed or lost in this tick: at its end they leave their users.
    var leaving: [UInt32] = []
    /// nil: compression is not offered.
    let deflate: Deflate?
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: readSize, alignment: 64)
    let output = UnsafeMutableRawBufferPointer.allocate(byteCount: writeSize, alignment: 64)
    var counters = Counters()
    /// Commands that wait for a look-up of their room, and upgrades that wait for one of their ticket.
    var waitingLookups = 0
    /// The line that a handover draws through the feed has been heard.
    var markerSeen = false
    /// Descriptors that a successor has, to be closed here.
    var lettingGo: [Int32] = []
    /// No new socket is taken in: the process ends.
    var isEnding = false
    var drain = Drain()
    /// Handshakes of all clients together.
    var handshakes = RateBucket()
    /// Sockets of each address, by its hash; only when they are limited.
    var addresses: [UInt64: Int] = [:]

    /// Milliseconds of the clock that never jumps, and of the one that people read; set by `beginTick`.
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
        feed.subscribe(RedisKey.relayChannel(relayID))
    }

    deinit {
        connections.forEach { connections.bury($0) }
        connections.reap { _, descriptor in Glibc.close(descriptor) }
        input.deallocate()
        output.deallocate()
    }

    /// Times are read once a tick.
    func beginTick(milliseconds: Int64, unixMilliseconds: Int64) {
        self.milliseconds = milliseconds
        self.unixMilliseconds = unixMilliseconds
        now = UInt32(truncatingIfNeeded: milliseconds / 1000)
    }

    /// Sends what the tick gathered: one write a socket, one AMQP message a queue. Then, and only then, sockets leave
    /// their users and slots become free. Nothing that goes through sockets, users or rooms may call it.
    func endTick() {
        commands.endTick()
        flush()
        reap()
        // Behind the flush: it says which sockets take what they get.
        askResumes()
    }

    /// Between two events: what one tick may hold is reached.
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

    /// A frame for one socket; nothing when that is closing, or gone.
    func send(_ frame: SharedFrame, to slot: UInt32) {
        guard !connections[slot].flags.contains(.closing) else { return }
        push(writes.add(frame), to: slot)
    }

    func reply(_ body: FrameBody, _ kind: FrameKind = .response, sign: String? = nil, to slot: UInt32) {
        send(frames(for: connections[slot].flags).make(body, kind, sign: sign), to: slot)
    }

    func refuse(_ refusal: Refusal, sign: String?, to slot: UInt32) {
        reply(FrameBody(refusal), sign: sign, to: slot)
    }
}
