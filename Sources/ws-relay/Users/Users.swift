import ChatCore

/// The users with at least one socket here. Rooms belong to the user, not to each socket: a second device costs
/// nothing.
///
/// A user's stages, from the first socket to the last:
///
///     subscribing ──> loading ──> joining ──> ready ──> (closed)
///
/// - subscribing: the user's channel is requested and not confirmed (`open`). Nothing is known yet.
/// - loading: the channel is confirmed, so no change can be missed; the memberships are being read (`confirmed`).
///   Should the look-up fail, the timer asks again.
/// - joining: the memberships are known; some rooms, counted by `waiting`, have not caught up with their newest frame
///   (`received`, `waits`).
/// - ready: every room is live (`becomeReady`): now each socket is welcomed, later ones at once.
/// - closed: the last socket has left (`close`), at the end of a tick.
///
/// A ready user stays ready when memberships are read again, after a loss of the feed or a change of a role. A user of
/// a predecessor begins as ready if they were ready there.
final class Users {
    enum Stage: UInt8 {
        case subscribing
        case loading
        case joining
        case ready
    }

    struct ConnectedUser {
        let id: UUID128
        fileprivate(set) var stage = Stage.subscribing
        /// Their presence is announced to nobody.
        fileprivate(set) var hidesPresence = false
        fileprivate(set) var connections: UInt32 = 0
        /// Rooms that must catch up before the user is ready.
        fileprivate(set) var waiting: UInt32 = 0
        /// PRIVATE rooms (including ones that do not exist yet) with a block by either member: no typing is sent there,
        /// and neither sees the other's presence anywhere.
        fileprivate(set) var blocked: Set<UUID128> = []
        /// Rooms in which the user may not post: CHANNELs of others, and rooms in which the user is muted.
        fileprivate(set) var silent: Set<UUID128> = []
        /// The number of the current memberships request.
        fileprivate var epoch: UInt64 = 0
        fileprivate(set) var rooms: [TrackedRoom] = []
    }

    /// By id.
    private(set) var indexes: [UUID128: UInt32] = [:]
    /// Never moves; untouched pages cost nothing.
    private let entries: UnsafeMutablePointer<ConnectedUser?>
    private var used = 0
    private var free: [UInt32] = []
    /// Each user's newest socket, in a dense array: a delivery reads nothing else of a user. The others follow in
    /// `Connection.nextOfUser`.
    private let first: UnsafeMutablePointer<UInt32>
    private let capacity: Int
    /// Users whose memberships are read again in the next second.
    private var reloads: Set<UUID128> = []
    /// The number of the newest memberships request; an answer with an older one is stale and dropped.
    private var epoch: UInt64 = 0
    private let memory: RelayMemory
    private let connections: ConnectionTable
    private let streams: EventStreams
    private let feed: any Feed
    private let lookups: any LookupOutlet

    /// Every user has at least one connection, so the number of connections is the limit.
    init(_ memory: RelayMemory, _ sockets: Sockets, _ feed: any Feed, _ lookups: any LookupOutlet) {
        self.memory = memory
        connections = sockets.connections
        streams = sockets.streams
        self.feed = feed
        self.lookups = lookups
        capacity = Int(memory.header.pointee.capacity)
        first = .allocate(capacity: capacity)
        entries = .allocate(capacity: capacity)
    }

    deinit {
        first.deallocate()
        entries.deinitialize(count: used)
        entries.deallocate()
    }

    var count: Int { indexes.count }

    func index(_ id: UUID128) -> UInt32? { indexes[id] }

    /// Read only: the methods below change it.
    subscript(index: UInt32) -> ConnectedUser {
        _read { yield entries[place(index)]! }
    }

    @inline(__always)
    func firstConnection(_ index: UInt32) -> UInt32 { first[place(index)] }

    /// `noIndex` denotes no user.
    @inline(__always)
    private func place(_ index: UInt32) -> Int {
        precondition(Int(index) < used, "no user has this index")
        return Int(index)
    }

    private func change(_ index: UInt32, _ body: (inout ConnectedUser) -> Void) { body(&entries[place(index)]!) }

    func forEach(_ body: (UInt32) -> Void) {
        for index in indexes.values { body(index) }
    }

    // MARK: Coming and going

    func open(_ id: UUID128) -> UInt32 {
        var entry = ConnectedUser(id: id)
        // Reserve here: an allocation between short-lived ones of the sockets would keep their memory from being
        // released.
        entry.rooms.reserveCapacity(1)
        let index: UInt32
        if let reused = free.popLast() {
            index = reused
            entries[Int(index)] = entry
        } else {
            index = UInt32(used)
            precondition(used < capacity, "there are more users than sockets")
            (entries + used).initialize(to: entry)
            used += 1
        }
        first[Int(index)] = noIndex
        memory.users[Int(index)] = id
        indexes[id] = index
        return index
    }

    /// The last socket has left. The user's channel is not needed any more.
    func close(_ index: UInt32) {
        feed.unsubscribe(BusChannel.user(self[index].id))
        streams.note(index, rooms: 0)
        indexes[self[index].id] = nil
        entries[Int(index)] = nil
        free.append(index)
    }

    func attach(_ slot: UInt32, to index: UInt32) {
        let row = connections.row(slot)
        row.pointee.user = index
        row.pointee.nextOfUser = firstConnection(index)
        first[place(index)] = slot
        change(index) { $0.connections += 1 }
    }

    func detach(_ slot: UInt32) {
        let row = connections.row(slot)
        let index = row.pointee.user
        guard index != noIndex else { return }
        var at = firstConnection(index)
        if at == slot {
            first[place(index)] = row.pointee.nextOfUser
        } else {
            while connections[at].nextOfUser != slot { at = connections[at].nextOfUser }
            connections.row(at).pointee.nextOfUser = row.pointee.nextOfUser
        }
        change(index) { $0.connections -= 1 }
        row.pointee.user = noIndex
        row.pointee.nextOfUser = noIndex
    }

    /// Visits the user's sockets, newest first. The body may close any: lists change only at the end of the tick.
    func forEachConnection(of index: UInt32, _ body: (UInt32) -> Void) {
        var at = firstConnection(index)
        while at != noIndex {
            let next = connections[at].nextOfUser
            body(at)
            at = next
        }
    }

    /// The oldest of the user's sockets that are not being closed, and their number. (Those stay in the list until the
    /// end of the tick, but do not count.)
    ///
    /// - Parameter isExempt: nor do these.
    func oldestConnection(of index: UInt32, except isExempt: (UInt32) -> Bool) -> (slot: UInt32, open: Int) {
        var (oldest, open) = (noIndex, 0)
        forEachConnection(of: index) { slot in
            guard !connections[slot].flags.contains(.closing), !isExempt(slot) else { return }
            open += 1
            if oldest == noIndex || connections[slot].age < connections[oldest].age { oldest = slot }
        }
        return (oldest, open)
    }

    // MARK: Stages

    /// The channel is confirmed.
    func confirmed(_ index: UInt32) {
        switch self[index].stage {
        case .subscribing: change(index) { $0.stage = .loading }
        // Taken over from a predecessor before the channel was subscribed here: rooms joined meanwhile must be found.
        case .ready: break
        case .loading, .joining: return
        }
        ask(index)
    }

    /// Reads the memberships.
    func ask(_ index: UInt32) {
        epoch += 1
        change(index) { $0.epoch = epoch }
        let id = self[index].id
        // The timer repeats the request until the user's time is over.
        if !lookups.ask(.memberships(of: id, epoch: epoch)) { reloads.insert(id) }
    }

    func askFailed(_ id: UUID128, epoch: UInt64) { if current(id, epoch) != nil { reloads.insert(id) } }

    /// Reads the memberships again in the next second.
    func reload(_ id: UUID128) { reloads.insert(id) }

    /// Once a second.
    func askAgain() {
        let again = reloads
        reloads = []
        for id in again { if let index = index(id) { ask(index) } }
    }

    /// The feed is back: changes may have been missed.
    func restored() { forEach { restored($0) } }

    func restored(_ index: UInt32) {
        if self[index].stage == .subscribing { change(index) { $0.stage = .loading } }
        ask(index)
    }

    /// Nil: the user is gone, or a newer request has been sent.
    private func current(_ id: UUID128, _ epoch: UInt64) -> UInt32? {
        guard let index = index(id), self[index].epoch == epoch else { return nil }
        return index
    }

    /// Takes the user's data from the memberships.
    ///
    /// - Returns: the user who enters these rooms now; nil when the answer is stale.
    func received(_ memberships: [Membership], of id: UUID128, epoch: UInt64) -> UInt32? {
        guard let index = current(id, epoch) else { return nil }
        change(index) {
            if $0.stage != .ready { $0.stage = .joining }
            $0.hidesPresence = memberships.contains { $0.hidesPresence }
            $0.blocked = Set(memberships.filter(\.isBlocked).map(\.room))
            $0.silent = Set(memberships.filter { !$0.mayPost }.map(\.room))
        }
        return index
    }

    /// A room has to catch up before the user is ready.
    func waits(_ index: UInt32) { change(index) { $0.waiting += 1 } }

    func waitsNoMore(_ index: UInt32) { change(index) { $0.waiting -= 1 } }

    /// False: the user is not ready yet, or was ready before.
    func becomeReady(_ index: UInt32) -> Bool {
        guard self[index].stage == .joining, self[index].waiting == 0 else { return false }
        change(index) { $0.stage = .ready }
        return true
    }

    /// A predecessor had welcomed the user's sockets.
    func wasReady(_ index: UInt32) { change(index) { $0.stage = .ready } }

    // MARK: Rooms, privacy

    func enter(_ room: TrackedRoom, _ index: UInt32) {
        change(index) { $0.rooms.append(room) }
        streams.note(index, rooms: self[index].rooms.count)
    }

    func leave(_ room: TrackedRoom, _ index: UInt32) {
        change(index) { $0.rooms.removeAll { $0 === room } }
        streams.note(index, rooms: self[index].rooms.count)
    }

    func hidePresence(_ index: UInt32, _ isHidden: Bool) { change(index) { $0.hidesPresence = isHidden } }

    func block(_ room: UUID128, _ isBlocked: Bool, _ index: UInt32) {
        change(index) { if isBlocked { $0.blocked.insert(room) } else { $0.blocked.remove(room) } }
    }

    /// Whether neither of them may see the other's presence.
    func areBlocked(_ one: UUID128, _ index: UInt32) -> Bool {
        guard !self[index].blocked.isEmpty, let pair = privateRoomID(one, self[index].id) else { return false }
        return self[index].blocked.contains(pair)
    }
}

// MARK: Hand-over

/// The indexes of users here, by the predecessor's indexes.
struct UserPlaces {
    private var places: [UInt32]

    init(_ count: UInt32) { places = [UInt32](repeating: noIndex, count: Int(count)) }

    subscript(old: UInt32) -> UInt32? {
        get { old < places.count && places[Int(old)] != noIndex ? places[Int(old)] : nil }
        set { if old < places.count { places[Int(old)] = newValue ?? noIndex } }
    }
}

extension Users {
    func write(to state: inout StateWriter) {
        state.put((indexes.values.max() ?? 0) + 1)
        state.put(UInt32(count))
        forEach { user in
            state.put(user)
            state.put(self[user].id)
            state.put(self[user].stage == .ready)
            state.put(self[user].hidesPresence)
            state.put(array: Array(self[user].blocked))
        }
    }

    /// - Returns: `ready`: the users whose sockets were welcomed; they become ready in `goOn`.
    func adopt(from state: inout StateReader) throws(StateUnreadable) -> (at: UserPlaces, ready: Set<UInt32>) {
        var ready: Set<UInt32> = []
        var at = UserPlaces(try state.take(UInt32.self))
        for _ in 0..<(try state.take(UInt32.self)) {
            let old: UInt32 = try state.take()
            let user = open(try state.take())
            if try state.take(Bool.self) { ready.insert(user) }
            hidePresence(user, try state.take())
            let blocked = try state.takeArray(UUID128.self)
            change(user) { $0.blocked = Set(blocked) }
            at[old] = user
        }
        return (at, ready)
    }

    /// Starts the unfinished requests again.
    ///
    /// - Parameter heard: users whose channels are subscribed.
    func goOn(ready: Set<UInt32>, heard: Set<UUID128>) {
        forEach { user in
            if ready.contains(user) { wasReady(user) }
            if !heard.contains(self[user].id) {
                feed.subscribe(BusChannel.user(self[user].id))
            } else if self[user].stage != .ready {
                confirmed(user)
            }
        }
    }
}
