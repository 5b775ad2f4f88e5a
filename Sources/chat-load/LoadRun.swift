import ChatCore
import Glibc

/// One run: an open loop. A message is due at its time whatever came back before, and its latency counts from then, so
/// that a server which stalls cannot slow down the questions that it is asked (coordinated omission).
final class LoadRun {
    struct Figures {
        var sent = 0, repeated = 0, uploads = 0, skipped = 0
        var opened = 0, reconnects = 0, churned = 0, resyncs = 0
        /// A member's own message that came once more after its answer: the protocol allows it.
        var ownAgain = 0
        /// Refusals and other errors, by code.
        var refusals: [String: Int] = [:]
        var errors: [String: Int] = [:]
        var refused: Int { refusals.values.reduce(0, +) }
        var failed: Int { errors.values.reduce(0, +) }
    }

    struct Latencies {
        var ack = Histogram(), copy = Histogram(), resume = Histogram(), upload = Histogram(), rest = Histogram()
    }

    enum Timer { case reconnect(Int), send(Int), upload(Int), resume(Int), fetch(RestDesk.Job) }

    let options: LoadOptions
    let place: Installation
    let credentials: Credentials
    let run: String
    var chance: Chance
    var ledger: Ledger
    var members: [Member] = []
    var figures = Figures()
    var latencies = Latencies()
    var series = Series()
    var version = "unknown"
    let poller = Poller()
    let desk: RestDesk
    let caller: RestCaller
    let began = wallClock()
    private(set) var start: Int64 = 0
    private(set) var elapsed: Int64 = 0
    private(set) var wasInterrupted = false

    private var timers: [(at: Int64, timer: Timer)] = []
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    private var nextSend = 0, nextUpload = 0, nextChurn = 0
    /// The members of rooms, in turns over the rooms.
    private var senders: [(member: Int, room: Int)] = []
    private var nextSender = 0
    private let marker: [UInt8]
    /// Of the last second.
    private var ackNow = Histogram(), copyNow = Histogram()
    private var ackShown = Histogram()
    private var before = (sent: 0, acknowledged: 0, copies: 0, uploads: 0, reconnects: 0, refused: 0, failed: 0)
    private var lastTick: Int64 = 0

    init(_ options: LoadOptions, _ place: Installation, _ credentials: Credentials) {
        (self.options, self.place, self.credentials) = (options, place, credentials)
        chance = Chance(seed: options.seed)
        run = hex((0..<4).map { _ in UInt8.random(in: 0...255) })
        ledger = Ledger(run: run)
        marker = Array(ledger.prefix.utf8)
        desk = RestDesk(place, threads: 4)
        caller = RestCaller(place)
    }

    var openSockets: Int { members.count { $0.phase == .ready } }

    /// Of the last second.
    func ackNowShown(_ shares: [Double]) -> [Int64] { ackShown.quantiles(shares) }

    func countCalls() {
        for call in caller.calls { latencies.rest.add(nanoseconds: call) }
        caller.calls = []
    }

    // MARK: The loop

    /// Opens the sockets during the ramp, sends for as long as asked, and waits for what is in flight.
    func drive(_ view: LiveView) throws(Unusable) {
        let most = ledger.rooms.map(\.members.count).max() ?? 0
        for place in 0..<most {
            for (room, entry) in ledger.rooms.enumerated() where place < entry.members.count {
                senders.append((entry.members[place], room))
            }
        }
        poller.add(desk.wake, number: members.count, writes: false)
        try openFirst()
        start = monotonic()
        lastTick = start
        for index in 1..<max(2, members.count) where index < members.count {
            let share = Double(index) / Double(members.count) * Double(min(options.ramp, options.duration))
            timers.append((start + Int64(share), .reconnect(index)))
        }
        let end = start + options.duration
        while monotonic() < end, interrupts == 0 {
            sendDue()
            turn(until: end)
            tick(view)
        }
        wasInterrupted = interrupts > 0
        elapsed = monotonic() - start
        let limit = monotonic() + options.patience
        while monotonic() < limit, ledger.inFlight > 0 || desk.open > 0 || isReturning, interrupts < 2 {
            turn(until: limit)
            tick(view)
        }
        tick(view, isLast: true)
        series.finish()
        for member in members { member.connection?.closeCleanly() }
    }

    /// Somebody's socket is on its way back: with it come the frames that it missed.
    private var isReturning: Bool { members.contains { !$0.streams.isEmpty && $0.phase != .ready } }

    /// The first socket shows whether there is a relay at all.
    private func openFirst() throws(Unusable) {
        let limit = monotonic() + 10 * second
        open(members[0])
        while members[0].phase != .ready {
            guard monotonic() < limit, members[0].phase != .away else {
                let reason = members[0].connection?.ending ?? ""
                throw Unusable(
                    "no WebSocket at \(place.base)/ws/v1/chat: \(reason.isEmpty ? "no welcome within 10 s" : reason)")
            }
            guard interrupts == 0 else { throw Unusable("interrupted before the run began") }
            turn(until: monotonic() + 100 * millisecond)
        }
    }

    private func turn(until end: Int64) {
        var now = monotonic()
        runTimers(now)
        var next = min(end, lastTick + second)
        for (at, _) in timers where at < next { next = at }
        if now < start + options.duration, interrupts == 0 {
            next = min(next, start + options.due(nextSend, rate: options.rate))
            if options.uploads > 0 { next = min(next, start + options.due(nextUpload, rate: options.uploads)) }
            if options.churn > 0 { next = min(next, start + options.due(nextChurn, rate: options.churn)) }
        }
        now = monotonic()
        poller.wait(nanoseconds: min(max(0, next - now), 250 * millisecond)) { number, isWritable in
            guard number < members.count else { return takeResults() }
            let member = members[number]
            guard let connection = member.connection else { return }
            if isWritable { connection.writable() }
            let arrived = monotonic()
            connection.readable(memory) { take($0, member, arrived) }
            if connection.phase == .closed, member.phase != .away { closed(member) }
        }
    }

    private func runTimers(_ now: Int64) {
        guard timers.contains(where: { $0.at <= now }) else { return }
        let due = timers.filter { $0.at <= now }
        timers.removeAll { $0.at <= now }
        for (_, timer) in due {
            switch timer {
            case .reconnect(let index): if members[index].phase == .away { open(members[index]) }
            case .send(let number): dispatch(number)
            case .upload(let number): upload(number)
            case .resume(let index):
                if members[index].phase == .resuming { members[index].connection?.send(members[index].resume()) }
            case .fetch(let job): desk.add(job)
            }
        }
    }

    func after(_ nanoseconds: Int64, _ timer: Timer) { timers.append((monotonic() + nanoseconds, timer)) }

    private func tick(_ view: LiveView, isLast: Bool = false) {
        let now = monotonic()
        guard now - lastTick >= second || isLast else { return }
        let (acks, copies) = (ackNow.quantiles([0.5, 0.99, 1]), copyNow.quantiles([0.5, 0.99]))
        var point = Series.Point()
        point.at = now - start
        point.seconds = Double(now - lastTick) / 1e9
        let new = (
            sent: figures.sent, acknowledged: ledger.acknowledged, copies: ledger.copies, uploads: figures.uploads,
            reconnects: figures.reconnects, refused: figures.refused, failed: figures.failed
        )
        point.sent = new.sent - before.sent
        point.acknowledged = new.acknowledged - before.acknowledged
        point.copies = new.copies - before.copies
        point.uploads = new.uploads - before.uploads
        point.reconnects = new.reconnects - before.reconnects
        point.refused = new.refused - before.refused
        point.errors = new.failed - before.failed
        point.open = openSockets
        (point.ackHalf, point.ack99, point.ackMost) = (acks[0], acks[1], acks[2])
        (point.copyHalf, point.copy99) = (copies[0], copies[1])
        series.add(point)
        before = new
        lastTick = now
        swap(&ackNow, &ackShown)
        ackNow.reset()
        copyNow.reset()
        view.show(self, point, isLast: isLast)
    }

    // MARK: Sending

    private func sendDue() {
        let now = monotonic()
        // At most some at once: what comes back is read between them.
        for _ in 0..<64 {
            let due = start + options.due(nextSend, rate: options.rate)
            guard options.rate > 0, due <= now else { break }
            nextSend += 1
            guard ledger.inFlight < options.inFlight else {
                figures.skipped += 1
                continue
            }
            let (member, room) = senders[nextSender % senders.count]
            nextSender += 1
            dispatch(ledger.open(room: room, sender: member, due: due))
        }
        while options.uploads > 0, start + options.due(nextUpload, rate: options.uploads) <= now {
            let (member, room) = senders[Int.random(in: 0..<senders.count, using: &chance)]
            let due = start + options.due(nextUpload, rate: options.uploads)
            nextUpload += 1
            guard ledger.inFlight < options.inFlight else {
                figures.skipped += 1
                continue
            }
            figures.uploads += 1
            upload(ledger.open(room: room, sender: member, due: due, isUpload: true))
        }
        while options.churn > 0, start + options.due(nextChurn, rate: options.churn) <= now {
            nextChurn += 1
            churn()
        }
    }

    private func dispatch(_ number: Int) {
        guard let message = ledger.message(number), message.state != .acknowledged else { return }
        let member = members[Int(message.sender)]
        guard member.phase == .ready, let connection = member.connection else { return member.waiting.append(number) }
        if message.state == .waiting { figures.sent += 1 } else { figures.repeated += 1 }
        ledger.change(number) { $0.state = .sent }
        member.unanswered.append(number)
        connection.send(frame(number, room: Int(message.room)))
        if connection.phase == .closed { closed(member) }
    }

    private func frame(_ number: Int, room: Int) -> [UInt8] {
        let sign = ledger.sign(number)
        // The same text for a repeated request.
        var choice = Chance(seed: options.seed &+ UInt64(number))
        let size = max(Int.random(in: options.size, using: &choice), sign.utf8.count)
        var writer = MessagePackWriter(reserving: size + 200)
        writer.map {
            $0.field("Type", "message")
            $0.field("RoomID", ledger.rooms[room].id)
            $0.field("Content") { writer in
                let text = Array(sign.utf8) + [UInt8](repeating: UInt8(ascii: "."), count: size - sign.utf8.count)
                text.withUnsafeBytes { writer.utf8($0) }
            }
            $0.field("ContentType", "text")
            $0.field("MessageType", "direct")
            $0.field("Sign", sign)
        }
        return writer.bytes
    }

    private func upload(_ number: Int) {
        guard let message = ledger.message(number), message.state != .acknowledged else { return }
        if message.state == .waiting { figures.sent += 1 } else { figures.repeated += 1 }
        ledger.change(number) { $0.state = .sent }
        desk.add(
            .upload(
                number: number, room: ledger.rooms[Int(message.room)].id, sign: ledger.sign(number),
                token: members[Int(message.sender)].user.token, bytes: options.uploadSize))
    }

    private func takeResults() {
        for done in desk.take() {
            for call in done.calls { latencies.rest.add(nanoseconds: call) }
            switch (done.job, done.outcome) {
            case (.upload(let number, _, _, _, _), .stored(let seq)):
                if let due = ledger.message(number)?.due, ledger.acknowledge(number, seq: seq) {
                    latencies.upload.add(nanoseconds: monotonic() - due)
                }
            case (.upload(let number, _, _, _, _), .again(let code, let wait)):
                figures.refusals[code, default: 0] += 1
                after(Int64(min(wait, 60_000)) * millisecond, .upload(number))
            case (.upload(let number, _, _, _, _), .refused(let code)):
                figures.refusals[code, default: 0] += 1
                ledger.refuse(number)
            case (.history(let member, let stream, _, _, _), .messages(let found)):
                let room = members[member].streams[stream].room
                for message in found {
                    guard let number = ledger.number(of: message.sign) else { continue }
                    _ = ledger.copy(number, room: room, seq: message.seq)
                }
            case (.history, .again(let code, let wait)):
                figures.errors["history: \(code)", default: 0] += 1
                after(Int64(min(wait, 60_000)) * millisecond, .fetch(done.job))
            case (.history, .refused(let code)): figures.errors["history: \(code)", default: 0] += 1
            default: break
            }
        }
    }

    // MARK: Sockets

    private func open(_ member: Member) {
        member.openedAt = monotonic()
        member.connection = Connection(
            place, number: member.index, token: member.user.token, attempt: member.attempts, poller: poller)
        member.phase = .opening
        figures.opened += 1
        if member.connection == nil { closed(member) }
    }

    /// Closes somebody's socket: one in two as a browser does, the others as a lost network does.
    private func churn() {
        let ready = members.filter { $0.phase == .ready }
        guard let member = ready.randomElement(using: &chance) else { return }
        figures.churned += 1
        member.isChurned = true
        if Bool.random(using: &chance) { member.connection?.closeCleanly() } else { member.connection?.cut() }
        closed(member)
    }

    private func closed(_ member: Member) {
        let (reason, code) = (member.connection?.ending ?? "no socket", member.connection?.closeCode ?? 0)
        member.phase = .away
        member.waiting = member.unanswered + member.waiting
        member.unanswered = []
        guard start > 0 else { return }
        member.attempts += 1
        var delay = Int64.random(in: 0...250 * millisecond, using: &chance)
        if member.isChurned {
            delay = Int64.random(in: 0...second, using: &chance)
        } else {
            figures.errors["socket: \(reason)", default: 0] += 1
            if member.attempts > 1 { delay = min(5 * second, 100 * millisecond << Int64(min(member.attempts, 6))) }
            // As asyncapi.yaml says: after a minute.
            if code == 1008 { delay = 60 * second }
        }
        member.isChurned = false
        if code == 4001 || reason.hasSuffix("401") { renew(member) }
        after(delay, .reconnect(member.index))
    }

    private func renew(_ member: Member) {
        do throws(Unusable) { member.user.token = try credentials.token(for: member.user.id) } catch {
            figures.errors["token: \(error)", default: 0] += 1
        }
    }

    // MARK: Receiving

    private func take(_ payload: UnsafeRawBufferPointer, _ member: Member, _ now: Int64) {
        let scan = FrameScan(payload)
        if let seq = scan.seq, scan.kind != .other, let number = scan.number(after: marker),
            let stream = member.stream(ofRoomEndingWith: scan.roomEnd)
        {
            return take(seq, number, scan.kind == .response, stream, member, now, payload)
        }
        guard let frame = try? MessagePackReader.decode(Array(payload)), let type = frame["Type"]?.string else {
            figures.errors["a frame that is no MessagePack", default: 0] += 1
            return
        }
        let succeeded = frame["Success"]?.bool ?? true
        switch type {
        case "welcome": welcome(member, frame)
        case "resync": resync(member, frame["Data"] ?? .null)
        case "response" where frame["Sign"]?.string == "resume": resumed(member, frame, succeeded, now)
        case "response" where !succeeded: refused(member, frame)
        default:
            guard let seq = frame["Seq"]?.int, let room = frame["RoomID"]?.string,
                let stream = member.stream(of: room)
            else { return }
            let number =
                type == "new_message" || type == "response"
                ? ledger.number(of: frame["Data"]?["Sign"]?.string ?? "") : nil
            take(seq, number, type == "response", stream, member, now, payload)
        }
    }

    private func take(
        _ seq: Int64, _ number: Int?, _ isResponse: Bool, _ stream: Int, _ member: Member, _ now: Int64,
        _ payload: UnsafeRawBufferPointer
    ) {
        let room = member.streams[stream].room
        switch member.streams[stream].take(seq, isResponse: isResponse) {
        case .new, .early: copied(number, room, seq, now)
        case .late:
            ledger.report(.outOfOrder, "\(ledger.place(room, seq)) came after a later one\(about(number, member))")
            copied(number, room, seq, now)
        case .twice:
            let frame = try? MessagePackReader.decode(Array(payload))
            if let sender = frame?["Data"]?["SenderID"]?.string, sender == member.serverID {
                figures.ownAgain += 1
            } else {
                ledger.report(.doubled, "\(ledger.place(room, seq)) came twice\(about(number, member))")
            }
        case .again, .answer: break
        }
        guard isResponse, let number, let due = ledger.message(number)?.due else { return }
        if let place = member.unanswered.firstIndex(of: number) { member.unanswered.remove(at: place) }
        guard ledger.acknowledge(number, seq: seq) else { return }
        latencies.ack.add(nanoseconds: now - due)
        ackNow.add(nanoseconds: now - due)
    }

    func about(_ number: Int?, _ member: Member) -> String {
        "\(number.map { ", Sign \(ledger.sign($0))" } ?? ""), to user \(member.user.id)"
    }

    private func copied(_ number: Int?, _ room: Int, _ seq: Int64, _ now: Int64) {
        guard let number, let due = ledger.copy(number, room: room, seq: seq) else { return }
        latencies.copy.add(nanoseconds: now - due)
        copyNow.add(nanoseconds: now - due)
    }

    private func welcome(_ member: Member, _ frame: WireValue) {
        member.serverID = frame["Data"]?["UserID"]?.string ?? ""
        for stream in member.streams.indices { member.streams[stream].isResuming = true }
        member.phase = .resuming
        if member.streams.isEmpty { ready(member, monotonic()) } else { member.connection?.send(member.resume()) }
    }

    private func resync(_ member: Member, _ data: WireValue) {
        guard let id = data["RoomID"]?.string, let seq = data["Seq"]?.int, let stream = member.stream(of: id) else {
            return
        }
        figures.resyncs += 1
        let wanted = member.streams[stream].skip(to: seq)
        guard !wanted.isEmpty else { return }
        desk.add(
            .history(member: member.index, stream: stream, room: id, token: member.user.token, wanted: wanted))
    }

    private func resumed(_ member: Member, _ frame: WireValue, _ succeeded: Bool, _ now: Int64) {
        let entries = frame["Data"]?["Rooms"]?.array ?? []
        // A new room that this relay has not heard of yet, or too many rooms at once.
        let failing = entries.first { $0["Error"].map { !$0.isNull } ?? false }
        guard succeeded, failing == nil else {
            let text = failing?["Error"]?.string ?? frame["Error"]?.string ?? ""
            figures.errors["resume: \(text.prefix { $0 != ":" })", default: 0] += 1
            let wait = frame["RetryAfter"]?.int ?? 300
            return after(max(50, min(wait, 60_000)) * millisecond, .resume(member.index))
        }
        ready(member, now)
    }

    private func ready(_ member: Member, _ now: Int64) {
        for stream in member.streams.indices { member.streams[stream].isResuming = false }
        member.phase = .ready
        member.attempts = 0
        if member.hasBeenReady {
            figures.reconnects += 1
            latencies.resume.add(nanoseconds: now - member.openedAt)
        }
        member.hasBeenReady = true
        let waiting = member.waiting
        member.waiting = []
        for number in waiting { dispatch(number) }
    }

    private func refused(_ member: Member, _ frame: WireValue) {
        let text = frame["Error"]?.string ?? "an error without a code"
        let code = String(text.prefix { $0 != ":" })
        guard let number = ledger.number(of: frame["Sign"]?.string ?? "") else {
            if frame["Sign"]?.string != "resume" { figures.errors[code, default: 0] += 1 }
            return
        }
        figures.refusals[code, default: 0] += 1
        if let place = member.unanswered.firstIndex(of: number) { member.unanswered.remove(at: place) }
        if let wait = frame["RetryAfter"]?.int {
            after(max(1, min(wait, 60_000)) * millisecond, .send(number))
        } else if ["unavailable", "busy", "timeout"].contains(code) {
            after(second, .send(number))
        } else {
            ledger.refuse(number)
        }
    }
}

/// How often Ctrl-C was pressed.
nonisolated(unsafe) private(set) var interrupts: sig_atomic_t = 0

/// The first ends the run in order, with its report; the second ends at once.
func watchInterrupts() {
    for number in [SIGINT, SIGTERM] {
        signal(number) { _ in
            interrupts += 1
            if interrupts > 1 { _exit(130) }
        }
    }
    signal(SIGPIPE, SIG_IGN)
}
