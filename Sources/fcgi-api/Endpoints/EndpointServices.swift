import ChatCore
import ChatProcess
import Logging

/// Services shared by all endpoints: ``Authentication``, readers, the command queue, rate limits. One for each worker,
/// which serves one request at a time.
final class EndpointServices {
    let authentication: Authentication
    private let readers: Readers
    let accounts: any AccountStore
    private let presences: any PresenceReader
    private let commands: any CommandQueue
    private let rates: any RateLimiter
    /// How long to wait for a command's answer.
    private let answerTimeout: Duration
    /// Bytes of a JSON body.
    let maxBody: Int
    let clock: Clock
    private let scoreboard: ScoreboardRow?
    /// nil: nothing is traced.
    private let tracer: Tracer?
    let log: Logger

    init(
        authentication: Authentication, readers: Readers, accounts: any AccountStore,
        presences: any PresenceReader, commands: any CommandQueue, rates: any RateLimiter,
        answerTimeout: Duration = .seconds(5),
        maxBody: Int = 65_536,
        clock: @escaping Clock = systemClock,
        scoreboard: ScoreboardRow? = nil, tracer: Tracer? = nil, log: Logger = Logger(label: "fcgi-api")
    ) {
        self.authentication = authentication
        self.readers = readers
        self.accounts = accounts
        self.presences = presences
        self.commands = commands
        self.rates = rates
        self.answerTimeout = answerTimeout
        self.maxBody = maxBody
        self.clock = clock
        self.scoreboard = scoreboard
        self.tracer = tracer
        self.log = log
    }

    /// The user for whom the request is.
    func user(_ call: Call) throws(Refusal) -> UUID128 { try authentication.user(call) }

    /// Reads the message as the asking user sees it now: never from a replica, which may not have it yet.
    func newest(_ message: UUID128, _ call: Call) throws(Refusal) -> Message {
        let found = try read(call, newest: true) { reader, user throws(StoreError) in
            try reader.message(message, for: user)
        }
        guard let found else { throw .messageNotFound }
        return found
    }

    /// The asking user's message with this Sign, while its file is incomplete.
    func pending(_ sign: String, in room: UUID128, _ call: Call) throws(Refusal) -> Message? {
        return try read(call, newest: true) { reader, user throws(StoreError) in
            try reader.upload(of: user, in: room, sign: sign)
        }
    }

    /// Reads as the asking user. The result includes everything that the user wrote, and was told of in this room.
    /// Counts as a read, unless the request was counted already.
    ///
    /// - Parameter newest: never reads from a replica.
    func read<T>(
        _ call: Call, in room: UUID128? = nil, newest: Bool = false,
        _ body: (any RoomReader, UUID128) throws(StoreError) -> T
    ) throws(Refusal) -> T {
        if !call.isCounted {
            try limit(.reads, call)
            call.isRead = true
        }
        return try readUncounted(call, room, newest, body)
    }

    /// Call it after a request that may have written, and before its answer. Then the user's next reads include the
    /// write, on any host.
    func rememberWrite(_ call: Call) {
        guard let user = call.user, !["GET", "HEAD", "OPTIONS"].contains(call.request.method) else { return }
        do { try readers.remember(writeOf: user) } catch {
            log.warning("a write could not be marked for readers of the replica", metadata: ["error": "\(error)"])
        }
    }

    /// Bytes of an answer that count as one read: a page of short messages is one, a page of long ones is fifty.
    private static let bytesOfRead = 32_768

    /// Counts the rest of a read when its size is known.
    func countRest(of response: Response, _ call: Call) {
        let more = response.body.count / Self.bytesOfRead
        guard call.isRead, more > 0, let user = call.user, !call.isHost else { return }
        rates.add(more, .reads, user)
    }

    private func readUncounted<T>(
        _ call: Call, _ room: UUID128? = nil, _ newest: Bool = false,
        _ body: (any RoomReader, UUID128) throws(StoreError) -> T
    ) throws(Refusal) -> T {
        let user = try user(call)
        return try stored { () throws(StoreError) in
            if newest { return try readers.readNewest { (reader) throws(StoreError) in try body(reader, user) } }
            return try readers.read(for: user, in: room) { (reader) throws(StoreError) in try body(reader, user) }
        }
    }

    func stored<T>(_ body: () throws(StoreError) -> T) throws(Refusal) -> T {
        do throws(StoreError) {
            return try body()
        } catch {
            switch error.trouble {
            case .running:
                throw Refusal(
                    .rateLimited, "your previous search is still running; try again in a second", retryAfter: 1)
            case .tooSlow:
                throw Refusal(.searchTooSlow, "the search took too long; look for rarer words, or in one room")
            case nil: break
            }
            log.error("the database failed", metadata: ["error": "\(error)"])
            guard error.isTransient else { throw Refusal(.internalError, "the request failed here; it is in the log") }
            throw .unavailable("the database")
        }
    }

    func presence(of user: UUID128) throws(Refusal) -> PresenceMark {
        do {
            return try presences.presence(of: user, at: clock())
        } catch {
            log.error("Redis failed", metadata: ["error": "\(error)"])
            throw .unavailable("presence")
        }
    }

    /// The message's room, to find its queue. The room's writer decides whether the user may change the message.
    func roomOfMessage(_ message: UUID128, _ call: Call) throws(Refusal) -> UUID128 {
        let room = try readUncounted(call) { reader, _ throws(StoreError) in try reader.roomOfMessage(message) }
        guard let room else { throw .messageNotFound }
        return room
    }

    /// Publishes a command to its room's queue and waits for the outcome.
    ///
    /// - Parameters:
    ///   - id: the command's id, also the id of the room or message that it creates; nil: a new one.
    ///   - fields: the request's fields, if another request with the same Sign must be refused.
    func submit(
        _ call: Call, room: UUID128, id: UUID128? = nil, sign: String? = nil, of fields: RequestFields? = nil,
        _ action: Command.Action
    ) throws(Refusal) -> SubmitOutcome {
        let user = try user(call)
        if let kind = action.kind.rate { try limit(kind, call) }
        let now = clock()
        var command = Command(
            id: id ?? .v7(at: now), room: room, actor: user, sign: sign, requestID: call.requestID, acceptedAt: now,
            isHost: call.isHost, names: call.names, action: action)
        if let fields, sign != nil { command.digest = fields.digest(call.request.path) }
        call.command = command.id
        if let tracer { call.trace(&command, tracer.sampler) }
        let answer = try commands.submit(command, timeout: answerTimeout)
        switch answer {
        case .answered(let frame): return try .done(data(of: frame))
        case .queued:
            scoreboard?.add(to: ApiCounter.queued.rawValue)
            return .queued(command)
        }
    }

    func limit(_ kind: RateKind, _ call: Call) throws(Refusal) {
        call.isCounted = true
        if call.isHost { return }
        if let wait = rates.take(kind, try user(call)) { throw .tooMany(kind, milliseconds: wait) }
    }

    /// Returns the whole room as the asking user sees it after a change.
    func room(after outcome: SubmitOutcome, _ id: UUID128, _ call: Call, _ status: Int = 200) throws(Refusal)
        -> Response
    {
        guard case .done = outcome else { return outcome.response() }
        let view = try read(call, in: id) { reader, user throws(StoreError) in try reader.room(id, for: user) }
        guard let view else { return outcome.response(status: status) }
        return .data(status: status) { view.write(to: &$0) }
    }

    private func data(of frame: WireValue) throws(Refusal) -> WireValue {
        guard frame["Success"]?.bool != true else { return frame["Data"] ?? .null }
        throw Refusal(
            answer: frame["Error"]?.string ?? "", field: frame["Field"]?.string,
            retryAfterMilliseconds: frame["RetryAfter"]?.int)
    }
}

enum SubmitOutcome {
    /// Executed and stored.
    case done(WireValue)
    /// Safe in its queue; it will be executed.
    case queued(Command)

    /// Reduces a `room_updated` to its member.
    var member: SubmitOutcome {
        guard case .done(let update) = self, let member = update["Member"] else { return self }
        return .done(member)
    }

    /// 202 `Status: queued` while the outcome is unknown.
    func response(status: Int = 200) -> Response {
        switch self {
        case .done(let data): .data(status: status) { $0.value(data) }
        case .queued(let command): .data(status: 202) { SubmitOutcome.write(queued: command, to: &$0) }
        }
    }

    private static func write(queued command: Command, to writer: inout JSONWriter) {
        writer.map {
            $0.field("ID", command.id)
            $0.field("RoomID", command.room)
            $0.field("Sign", command.sign)
            $0.field("Status", "queued")
        }
    }
}
