import ChatCore
import ChatProcess
import Logging

/// The relay's switchboard: receives events and passes them to the owners of the state.
///
///     Admission   tokens, origins, limits of requests               Rooms     frames in order, members, gaps
///     Sockets     bytes, outboxes, the writes of a tick             Resumes   frames that a reconnected client missed
///     Users       users with sockets, their rooms and stages        Holds     the wait for a `resume`
///
/// An owner calls only those above or left of it, and returns work for others. One thread owns them all and never
/// blocks: slow work is requested through the outlets, and the answers arrive as events. Everything for a socket in one
/// tick leaves in one write at its end (`endTick`).
final class Hub {
    let settings: RelaySettings
    let feed: any Feed
    let commands: any CommandOutlet
    let ephemerals: any EphemeralOutlet
    let log: Logger
    /// nil: durations are not recorded.
    let timings: RelayTimings?

    /// The relay's id in command origins; together with a socket's serial it is never reused.
    let relayID: UInt64
    /// The memory that survives a crash.
    let memory: RelayMemory
    let clock = TickClock()
    let admission: Admission
    let sockets: Sockets
    let users: Users
    let presence: PresenceNews
    let table: RoomTable
    let rooms: Rooms
    let resumes: Resumes
    let holds: Holds
    let unanswered: UnansweredCommands

    let requests: Requests
    let lookups: SocketLookups
    /// The process is ending: no new socket is accepted.
    private(set) var isEnding = false
    /// The sockets that go to another relay.
    var moves = Moves()
    /// The end of the drain was logged.
    var drainIsOver = false
    /// The marker of a hand-over has arrived in the feed.
    private(set) var hasSeenMarker = false

    init(
        settings: RelaySettings, relayID: UInt64, tokens: any TokenVerifier, feed: any Feed,
        commands: any CommandOutlet, lookups: any LookupOutlet, ephemerals: any EphemeralOutlet,
        memory: RelayMemory, writesPerTick: Int? = nil, timings: RelayTimings? = nil, tracer: Tracer? = nil,
        log: Logger
    ) {
        (self.settings, self.relayID, self.memory, self.timings, self.log) = (settings, relayID, memory, timings, log)
        (self.feed, self.commands, self.ephemerals, self.lookups) = (feed, commands, ephemerals, SocketLookups(lookups))
        admission = Admission(settings, tokens, clock)
        sockets = Sockets(settings, admission, clock, memory, writesPerTick: writesPerTick)
        users = Users(memory, sockets, feed, lookups)
        presence = PresenceNews(users, clock, ephemerals)
        unanswered = UnansweredCommands(relayID, sockets, users, tracer)
        table = RoomTable(memory, feed)
        holds = Holds(sockets, users)
        resumes = Resumes(sockets, users, table, holds, unanswered, lookups, ephemerals)
        rooms = Rooms(table, sockets, users, resumes, holds, unanswered, lookups, ephemerals, timings)
        requests = Requests(
            relayID: relayID, sockets, users, table, resumes, unanswered, commands, self.lookups, ephemerals)
        memory.header.pointee.relayID = relayID
        feed.subscribe(BusChannel.relay(relayID))
    }

    // MARK: Ticks

    /// Reads the clocks once per tick.
    func beginTick(milliseconds: Int64, unixMilliseconds: Int64) {
        clock.begin(milliseconds: milliseconds, unixMilliseconds: unixMilliseconds)
    }

    /// Sends what the tick gathered: one write per socket, one AMQP message per queue. Only then do sockets leave their
    /// users and slots become free. Code that iterates over sockets, users or rooms must not call it.
    func endTick() {
        commands.endTick()
        resumes.goOnEarly()
        sockets.answerPolls()
        let begun = sockets.writes.dirty.isEmpty ? 0 : monotonicNow()
        sockets.flush()
        if begun != 0 { timings?.socketWrite.observe(monotonicNow() - begun) }
        reap()
        // After the flush, which shows which sockets accept their bytes.
        resumes.ask()
    }

    /// Called between two events: ends the tick when it is full.
    func endTickIfFull() { if sockets.writes.isFull { endTick() } }

    func everySecond() {
        sockets.everySecond()
        rooms.everySecond()
        presence.everySecond()
        requests.everySecond()
        if !isEnding { ephemerals.beat() }
        let counts = admission.takeCounts()
        if !counts.isEmpty { ephemerals.charge(counts) }
        users.askAgain()
        lookForMoves()
    }

    // MARK: Sockets

    func accepted(_ descriptor: Int32) { sockets.accepted(descriptor, isEnding: isEnding) }

    /// Handles an epoll event; a late one of an earlier connection finds no slot.
    func handle(_ event: Epoll.DescriptorEvent) {
        guard let slot = sockets.connections.slot(event.handle) else { return }
        if event.isReadable, !sockets[slot].flags.contains(.readPaused) {
            sockets.receive(slot) { take($0, from: slot, isAwaited: $1) }
        } else if event.isBroken {
            return sockets.destroy(slot)
        }
        if event.isWritable, sockets.connections.slot(event.handle) == slot, sockets.writable(slot) {
            resumes.goOn(slot)
        }
    }

    private func take(_ chunk: UnsafeMutableRawBufferPointer, from slot: UInt32, isAwaited: Bool) {
        if isAwaited { requests.showLife(slot) }
        let flags = sockets[slot].flags
        if flags.contains(.closing) { return }
        if flags.contains(.greeting) { return greet(slot, UnsafeRawBufferPointer(chunk)) }
        if sockets[slot].getsEvents {
            return sockets.close(slot, .policyViolation, "nothing is taken here: send by REST")
        }
        read(chunk, from: slot)
    }

    func read(_ chunk: UnsafeMutableRawBufferPointer, from slot: UInt32) {
        sockets.read(chunk, from: slot) { requests.handle($0, isText: $1, slot) }
    }

    /// The end of a tick: sockets leave their users, the last one removes the user.
    func reap() { sockets.reap { leave($0) } }

    private func leave(_ slot: UInt32) {
        sockets.uncount(slot)
        unanswered.forget(sockets[slot].serial)
        moves.left(sockets.connections.handle(slot))
        if sockets[slot].flags.contains(.closing) { resumes.forget(slot) }
        let user = sockets[slot].user
        guard user != noIndex else { return }
        users.detach(slot)
        guard users[user].connections == 0 else { return }
        if users[user].stage == .ready { presence.departed(user) }
        rooms.drop(user)
        users.close(user)
    }

    // MARK: The end

    /// A hand-over sends a marker through the feed now.
    func expectMarker() { hasSeenMarker = false }

    func sawMarker() { hasSeenMarker = true }

    /// Ends this relay for good: its clients are told to reconnect.
    func endAll() {
        isEnding = true
        sockets.endAll()
    }

    /// A successor has everything. `Sockets.goOnLettingGo` closes our copies.
    func letGo() {
        reap()
        let handedOver = sockets.handedOver
        handedOver.forEach(users.detach)
        sockets.letGo(handedOver)
        table.letGo()
        presence.letGo()
        isEnding = true
    }
}
