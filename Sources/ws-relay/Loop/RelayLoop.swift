import CLinux
import ChatCore
import ChatProcess
import Glibc
import Logging

/// One thread with one epoll: client connections, the feed, answers of other threads, and the master.
///
/// A tick reads what is there (bounded, so that a flood delays nobody for long); then `endTick` writes the results,
/// joined per socket.
final class RelayLoop {
    /// Handles of descriptors that are not connections: no slot number has this lower half.
    private enum Handle {
        static let feed: UInt64 = 1 << 32 | UInt64(noIndex)
        static let answers: UInt64 = 2 << 32 | UInt64(noIndex)
        static let master: UInt64 = 3 << 32 | UInt64(noIndex)
        static let successor: UInt64 = 4 << 32 | UInt64(noIndex)
        static let listener: UInt64 = 5 << 32 | UInt64(noIndex)
    }

    /// Connections accepted in one tick. A tick stops reading the feed after a number of deliveries, or of reads of 16
    /// KiB, since some messages have no receiver here.
    private static let acceptsPerTick = 64
    private static let deliveriesPerTick = 100_000
    private static let readsPerTick = 1024
    /// New connections after which freeing unused heap memory is worthwhile.
    private static let herd = 256
    /// Bytes of resent frames after which it is, too.
    private static let flood = 8 << 20

    let hub: Hub
    private let feed: any RelayFeed
    private let answers: BoundedInbox<Found>
    private let arrival: EventCounter
    private let commands: any DrainedOutlet
    private let markers: any MarkerOutlet
    private let place: any RelayPlace
    private let system: LoopSystem
    private let log: Logger
    private var predecessor: Predecessor?
    private var hasHandedOver = false
    private var watchedFeed = 0
    private var feedWatchesWrite = false
    private var halfSecond: Int64 = 0
    private var isReady = false
    private var mayAccept = true
    private var endsAt: Int64?
    /// The connection count a second ago, and the one at the last release of memory.
    private var accepted = (before: 0, tidied: 0)
    private var tidiedBytes = 0
    /// Without a master: the time at which to end.
    private var orphanedUntil: Int64?

    init(
        hub: Hub, feed: any RelayFeed, answers: BoundedInbox<Found>, arrival: EventCounter, commands: any DrainedOutlet,
        markers: any MarkerOutlet, place: any RelayPlace, system: LoopSystem = LoopSystem(), log: Logger
    ) {
        self.commands = commands
        self.markers = markers
        self.hub = hub
        self.feed = feed
        self.answers = answers
        self.arrival = arrival
        self.place = place
        self.system = system
        self.log = log
    }

    func run() {
        begin()
        while !isOver { tick() }
        // The totals of the last second, which the master keeps.
        hub.report(to: place.scoreboard)
        log.notice("this relay has ended")
    }

    func begin() {
        hub.sockets.epoll.add(arrival.descriptor, .read, handle: Handle.answers)
        hub.sockets.epoll.add(place.fileDescriptor, .read, handle: Handle.master)
        hub.moves.workers = place.poolSize
    }

    var isOver: Bool {
        guard let endsAt else { return false }
        return hub.sockets.connections.count == 0 && commands.isIdle || system.now() > endsAt
    }

    func tick() {
        hub.beginTick(milliseconds: system.now(), unixMilliseconds: system.unix())
        if endsAt != nil { hub.sockets.goOnEnding() }
        if hasHandedOver { hub.sockets.goOnLettingGo() }
        if endsAt == nil, !hasHandedOver { hub.goOnMoving() }
        feed.keepUp(now: hub.clock.milliseconds) { handle($0) }
        watchFeed()
        hub.resumes.endHolds()
        hub.endTick()
        feed.endTick(now: hub.clock.milliseconds) { handle($0) }
        hub.sockets.epoll.wait(milliseconds: system.wait(untilNextDue)) { event in
            if event.handle & UInt64(noIndex) == UInt64(noIndex) { handle(event) } else { hub.handle(event) }
            hub.endTickIfFull()
        }
        everyHalfSecond()
    }

    private func handle(_ event: Epoll.DescriptorEvent) {
        switch event.handle {
        case Handle.feed: readFeed()
        case Handle.answers: takeAnswers()
        case Handle.master: hearMaster()
        case Handle.successor: hearSuccessor()
        default: accept(place.listeners[Int(event.handle >> 32) - Int(Handle.listener >> 32)])
        }
    }

    // MARK: The feed

    private func handle(_ event: FeedEvent) {
        hub.handle(event)
        hub.endTickIfFull()
    }

    /// The descriptor changes with each reconnection; it must also be watched for writing when changes did not fit.
    private func watchFeed() {
        guard feed.descriptor >= 0 else { return }
        let interest: Epoll.Interest = feed.wantsWrite ? [.read, .write] : .read
        if watchedFeed != feed.connection {
            hub.sockets.epoll.add(feed.descriptor, interest, handle: Handle.feed)
            (watchedFeed, feedWatchesWrite) = (feed.connection, feed.wantsWrite)
        } else if feedWatchesWrite != feed.wantsWrite {
            hub.sockets.epoll.change(feed.descriptor, interest, handle: Handle.feed)
            feedWatchesWrite = feed.wantsWrite
        }
    }

    private func readFeed() {
        let enough = hub.sockets.counters.deliveries + Self.deliveriesPerTick
        for _ in 0..<Self.readsPerTick {
            guard hub.sockets.counters.deliveries < enough, feed.read(now: hub.clock.milliseconds, { handle($0) })
            else { return }
            becomeReady()
        }
    }

    /// Redis has answered once: this relay can keep the promise of `welcome`.
    func becomeReady() {
        guard !isReady else { return }
        isReady = true
        watchListeners()
        place.ready()
        log.notice("this relay serves", metadata: ["relay": "\(hub.relayID)"])
    }

    // MARK: The other threads

    private func takeAnswers() {
        arrival.clear()
        for found in answers.drain() {
            if hasHandedOver { passOn(found) } else { hub.handle(found) }
            hub.endTickIfFull()
        }
    }

    /// Refusals of the last commands reach their sockets at the successor, through the relay's own channel.
    private func passOn(_ found: Found) {
        guard case .refused(let unsent, let refusal) = found else { return }
        for command in unsent {
            let frame = FrameBody(refusal).frame(.response, sign: command.sign)
            markers.publish(RelayAnswer(socket: command.socket, frame: frame), to: hub.relayID)
        }
    }

    // MARK: New connections

    private func watchListeners() {
        for (index, listener) in place.listeners.enumerated() {
            hub.sockets.epoll.add(listener, .listen, handle: Handle.listener + UInt64(index) << 32)
        }
    }

    private func accept(_ listener: Int32) {
        for _ in 0..<Self.acceptsPerTick {
            let descriptor = system.accept(listener)
            guard descriptor >= 0 else {
                if errno == EMFILE || errno == ENFILE { pauseAccepting() }
                return
            }
            hub.accepted(descriptor)
        }
    }

    /// Out of descriptors: other processes of this program may have some. Accepting resumes in the next second.
    private func pauseAccepting() {
        log.error("out of file descriptors: raise the limit, or lower WS_MAX_CONNECTIONS")
        place.listeners.forEach { hub.sockets.epoll.remove($0) }
        mayAccept = false
    }

    // MARK: The master, the clock

    private func hearMaster() {
        while let message = place.next() {
            switch message {
            case .quit: return beginEnd()
            case .handover(let descriptor): beginHandover(descriptor)
            case .handoverCancelled: if hasHandedOver { giveWay() } else { endHandover() }
            case .orphaned(let line): serveOn(line)
            case .poolSize(let size): hub.moves.workers = size
            case .drain(let order): drain(order)
            case .drainStopped:
                hub.stopDraining()
                hub.report(to: place.scoreboard)
            }
        }
    }

    private func drain(_ text: String) {
        guard let order = MoveOrder(text) else {
            return log.error("this release does not understand how it should be drained", metadata: ["how": "\(text)"])
        }
        hub.drain(order)
        hub.lookForMoves()
        // The operator may ask at once.
        hub.report(to: place.scoreboard)
    }

    /// The master is dead: a worker of the next master takes over, as in a reload.
    private func serveOn(_ line: Int32) {
        log.error("the master is dead: this relay keeps serving until another one takes over")
        hub.sockets.epoll.remove(place.fileDescriptor)
        let timeout = hasHandedOver ? 0 : WorkerChannel.takeoverSeconds * 1000
        orphanedUntil = system.now() + timeout
        if timeout > 0 { beginHandover(line) }
    }

    // MARK: Handing over

    private func beginHandover(_ descriptor: Int32) {
        guard !hasHandedOver, endsAt == nil else {
            close(descriptor)
            return
        }
        endHandover()
        predecessor = Predecessor(
            channel: HandoffChannel(descriptor), hub: hub, feed: feed, commands: commands, markers: markers,
            takeAnswers: takeAnswers, log: log)
        hub.sockets.epoll.add(descriptor, .read, handle: Handle.successor)
    }

    /// Ends this process so that the next worker can adopt the sockets. Either the successor died with the sockets
    /// before the master knew that it had them, and they are with its file keeper; or they are here, and there is
    /// no master.
    private func giveWay() {
        log.warning("the successor died: this relay ends so that the next worker can take over")
        system.exit(1)
    }

    private func endHandover() {
        if let predecessor { hub.sockets.epoll.remove(predecessor.channel.descriptor) }
        predecessor = nil
    }

    private func hearSuccessor() {
        switch predecessor?.hear() {
        case .serving, nil: break
        case .alone:
            // Without a master there is no second try: the next worker adopts this process's descriptors.
            if orphanedUntil != nil { return giveWay() }
            endHandover()
        case .handedOver:
            hasHandedOver = true
            endHandover()
            stopAccepting()
            feed.shutDown()
            if orphanedUntil != nil { beginEnd() }
        }
    }

    private func stopAccepting() {
        place.listeners.forEach { hub.sockets.epoll.remove($0) }
        mayAccept = true
    }

    /// Without a successor clients are told to reconnect, and get a moment to read the close frame.
    private func beginEnd() {
        guard endsAt == nil else { return }
        endsAt = system.now() + hub.settings.drainTime.milliseconds + (commands.isIdle ? 5000 : 11_000)
        hub.sockets.epoll.remove(place.fileDescriptor)
        stopAccepting()
        hub.endAll()
    }

    private var untilNextDue: Int32 {
        guard !hub.sockets.isLettingGo else { return 0 }
        guard let due = hub.holds.nextDue else { return untilNextHalfSecond }
        return max(0, min(untilNextHalfSecond, Int32(clamping: due - system.now())))
    }

    private var untilNextHalfSecond: Int32 {
        let left = 500 - hub.clock.milliseconds % 500
        // Without a feed, a reconnection may be due earlier.
        return Int32(feed.isAway || endsAt != nil || hub.moves.isActive ? min(left, 100) : left)
    }

    private func everyHalfSecond() {
        let now = system.now() / 500
        guard now != halfSecond else { return }
        let isWholeSecond = now / 2 != halfSecond / 2
        halfSecond = now
        if let orphanedUntil {
            hearMaster()
            if system.now() > orphanedUntil { beginEnd() }
        }
        if !hasHandedOver { hub.askRevocations() }
        if isWholeSecond { everySecond() }
    }

    private func everySecond() {
        hub.beginTick(milliseconds: system.now(), unixMilliseconds: system.unix())
        hub.everySecond()
        if !mayAccept, isReady, endsAt == nil, !hasHandedOver {
            mayAccept = true
            watchListeners()
        }
        hub.report(to: place.scoreboard)
        giveMemoryBack()
    }

    /// Opening many sockets allocates more than they keep: the rest is released once nobody else connects.
    private func giveMemoryBack() {
        let now = hub.sockets.counters.accepted
        if now == accepted.before, now - accepted.tidied >= Self.herd {
            accepted.tidied = now
            malloc_trim(0)
        }
        accepted.before = now
        if hub.resumes.isIdle, hub.resumes.counters.bytes - tidiedBytes >= Self.flood {
            tidiedBytes = hub.resumes.counters.bytes
            malloc_trim(0)
        }
    }
}
