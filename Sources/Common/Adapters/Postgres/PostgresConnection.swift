import CPQ
public import ChatCore
import Glibc

/// One connection, for one thread. It connects at first use and again after a failure; every wait has a time limit.
///
/// Statements are prepared at first use and kept until the connection closes: their texts come from our own code, so
/// they are few. Results arrive in binary.
public final class PostgresConnection {
    private let url: String
    private let applicationName: String
    private let statementTimeout: Duration
    private let way: PostgresWay
    private let isPrepared: Bool
    private let transactionPause: Duration
    private let watch: PostgresConnection?
    /// Replaces the statement's own limit for a moment.
    private var answerLimit: Duration?
    private var connection: OpaquePointer?
    private var prepared: [String: String] = [:]
    /// The number of connections that were opened so far: another one may lead to another server.
    public private(set) var session = 0

    /// - Parameters:
    ///   - statementTimeout: the server ends a statement after this time; the client waits two seconds more and then
    ///     closes the connection.
    ///   - isPrepared: false behind a pooler in transaction mode: no session state is used then, neither prepared
    ///     statements nor session settings.
    ///   - transactionPause: the server ends a transaction, and its locks, when we send nothing for this time: a stopped or
    ///     lost program must not hold them for long.
    ///   - watch: asked every two seconds while this one waits for a statement. Without its answer the server counts as
    ///     silent; with it a statement may take its full time.
    public init(
        url: String, applicationName: String, statementTimeout: Duration = .seconds(10), way: PostgresWay = .primary,
        isPrepared: Bool = true, transactionPause: Duration = .seconds(15), watch: PostgresConnection? = nil
    ) {
        self.way = way
        self.transactionPause = transactionPause
        self.watch = watch
        self.isPrepared = isPrepared
        self.url = url
        self.applicationName = applicationName
        self.statementTimeout = statementTimeout
    }

    /// - Parameter statementTimeout: nil: the value from the settings.
    public convenience init(
        _ settings: DatabaseSettings, applicationName: String, statementTimeout: Duration? = nil,
        way: PostgresWay = .primary, transactionPause: Duration = .seconds(15), watch: PostgresConnection? = nil
    ) {
        let url =
            switch way {
            case .primary: settings.url
            case .replica: settings.readURL
            case .direct: settings.directURL
            }
        self.init(
            url: url, applicationName: applicationName, statementTimeout: statementTimeout ?? settings.statementTimeout,
            way: way, isPrepared: settings.isPrepared || way == .direct, transactionPause: transactionPause,
            watch: watch)
    }

    deinit { PQfinish(connection) }

    /// Describes an error in a connection string; nil when it is valid. Never contains a part of the string.
    public static func problem(in url: String) -> String? {
        var message: UnsafeMutablePointer<CChar>?
        if let options = PQconninfoParse(url, &message) {
            PQconninfoFree(options)
            return nil
        }
        defer { PQfreemem(message) }
        // libpq quotes the text, including its password.
        let said = message.map { firstLine(String(cString: $0)) } ?? ""
        let safe = String(decoding: said.utf8.prefix { $0 != UInt8(ascii: "\"") }, as: UTF8.self)
        return "not a valid libpq connection string: \(safe)"
    }

    /// Whether a server answers there, also when it would refuse this user.
    public static func answers(_ url: String) -> Bool {
        with([("dbname", url), ("connect_timeout", "3")]) { PQpingParams($0, $1, 1) } == PQPING_OK
    }

    /// Names and values as libpq takes them.
    private static func with<Result>(
        _ settings: [(String, String)], _ body: ([UnsafePointer<CChar>?], [UnsafePointer<CChar>?]) -> Result
    ) -> Result {
        let keys = settings.map { strdup($0.0) }
        let values = settings.map { strdup($0.1) }
        defer { (keys + values).forEach { free($0) } }
        return body(keys.map { UnsafePointer($0) } + [nil], values.map { UnsafePointer($0) } + [nil])
    }

    public func close() {
        PQfinish(connection)
        connection = nil
        prepared.removeAll()
    }

    /// Like ``pipeline(_:)``, for statements that are safe to run twice: when an open connection turns out to be lost
    /// (the server was restarted), they run again on a new one.
    public func repeatable(_ statements: [SQL]) throws(PostgresError) -> [PGRows] {
        let wasOpen = connection != nil
        do throws(PostgresError) { return try pipeline(statements) } catch {
            guard wasOpen, error.isLostConnection else { throw error }
            return try pipeline(statements)
        }
    }

    /// Whether the server answers within this time; a new connection has two seconds for each host in the URL.
    public func answers(within limit: Duration) -> Bool {
        answerLimit = limit
        defer { answerLimit = nil }
        do throws(PostgresError) {
            _ = try repeatable(["SELECT 1"])
            return true
        } catch { return error.state != nil && !error.isAway }
    }

    /// Runs one statement.
    public func query(_ sql: SQL) throws(PostgresError) -> PGRows {
        let results = try pipeline([sql])
        return results[0]
    }

    /// Runs statements in order, in one round trip. They form one implicit transaction unless they begin and commit one
    /// themselves. The first error ends the rest and is thrown.
    public func pipeline(_ statements: [SQL]) throws(PostgresError) -> [PGRows] {
        let connection = try connected(reopening: true)
        var preparing: Set<Int> = []
        do throws(PostgresError) {
            if PQpipelineStatus(connection) == PQ_PIPELINE_OFF, PQenterPipelineMode(connection) != 1 {
                throw failure(connection)
            }
            for (index, statement) in statements.enumerated() {
                if try prepareIfNew(statement, connection) { preparing.insert(index) }
                try send(statement, connection)
            }
            guard PQpipelineSync(connection) == 1 else { throw failure(connection) }
            return try collect(statements.count, preparing, connection)
        } catch {
            // It is unknown which statements were prepared, and a transaction may be open. A new connection has a known
            // state.
            var error = error
            let mayGoOn = error.state != nil && !error.isFatal && preparing.isEmpty
            if !mayGoOn || !isIdle(connection, after: statements.count) {
                // Pgpool-II ends the session after errors of its own, whatever it calls them.
                if error.state?.hasPrefix("XX") == true, PQstatus(connection) == CONNECTION_BAD { error.isFatal = true }
                close()
            }
            throw error
        }
    }

    /// Reads to the end of a failed pipeline. Returns whether no transaction is open.
    private func isIdle(_ connection: OpaquePointer, after statements: Int) -> Bool {
        // Each statement gives a result and a terminating nil.
        for _ in 0...2 * statements {
            do throws(PostgresError) {
                guard let result = try next(connection), result.isSync else { continue }
                return PQtransactionStatus(connection) == PQTRANS_IDLE
            } catch { return false }
        }
        return false
    }

    /// Runs a script of several statements without values, such as a migration. It is one message to the server, and one
    /// transaction unless it says otherwise.
    ///
    /// - Parameter keepsSession: an error of a statement leaves the connection open, with its temporary tables.
    public func script(_ text: String, keepsSession: Bool = false) throws(PostgresError) {
        let connection = try connected()
        if PQpipelineStatus(connection) != PQ_PIPELINE_OFF { PQexitPipelineMode(connection) }
        guard PQsendQuery(connection, text) == 1 else { throw failure(connection) }
        var problem: PostgresError?
        while let result = try next(connection) {
            if let error = result.error { problem = problem ?? error }
        }
        if let problem {
            if !keepsSession || problem.state == nil || PQtransactionStatus(connection) != PQTRANS_IDLE { close() }
            throw problem
        }
    }

    /// Sends rows to `COPY … FROM STDIN`, in one piece.
    ///
    /// - Parameter rows: in the format that the statement names, complete.
    public func copy(_ statement: String, _ rows: [UInt8]) throws(PostgresError) {
        let connection = try connected()
        if PQpipelineStatus(connection) != PQ_PIPELINE_OFF { PQexitPipelineMode(connection) }
        do throws(PostgresError) {
            guard PQsendQuery(connection, statement) == 1 else { throw failure(connection) }
            guard let begun = try next(connection) else { throw failure(connection) }
            if let error = begun.error, !begun.isCopyIn { throw error }
            let sent = rows.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) {
                    PQputCopyData(connection, $0.baseAddress, Int32(clamping: $0.count))
                }
            }
            // It is kept in libpq's memory, and sent while the answer is waited for.
            guard sent == 1, PQputCopyEnd(connection, nil) == 1 else { throw failure(connection) }
            while let result = try next(connection) {
                if let error = result.error { throw error }
            }
        } catch {
            close()
            throw error
        }
    }

    // MARK: Connecting

    /// - Parameter reopening: replaces a connection that the server has closed meanwhile. Nothing was sent yet, so a
    ///   new one is as good, unless a transaction or a session lock depends on the old one.
    private func connected(reopening: Bool = false) throws(PostgresError) -> OpaquePointer {
        if let connection {
            if PQstatus(connection) == CONNECTION_OK, !(reopening && hasHungUp(connection)) { return connection }
            close()
        }
        var settings: [(String, String)] = [
            ("dbname", url), ("application_name", applicationName),
            ("connect_timeout", answerLimit == nil ? "3" : "2"), ("client_encoding", "UTF8"),
            // A host that vanished is noticed within four seconds; the kernel of one that only works for long answers.
            ("tcp_user_timeout", "4000"), ("keepalives_idle", "2"), ("keepalives_interval", "1"),
        ]
        if isPrepared { settings.append(("options", options)) }
        let opened = Self.with(settings) { PQconnectdbParams($0, $1, 1) }
        guard let opened, PQstatus(opened) == CONNECTION_OK else {
            // libpq's message about a string that it cannot read shows it, with the password.
            let error =
                Self.problem(in: url).map { PostgresError(state: nil, message: $0, constraint: nil) }
                ?? opened.map { failure($0) } ?? PostgresError(state: nil, message: "no memory", constraint: nil)
            PQfinish(opened)
            throw error
        }
        session += 1
        // Servers before PostgreSQL 14, and some poolers, do not report it.
        if way != .replica, let standby = PQparameterStatus(opened, "in_hot_standby"), String(cString: standby) == "on"
        {
            let host = PQhost(opened).map { String(cString: $0) } ?? "?"
            PQfinish(opened)
            throw PostgresError(
                state: "25006",
                message: "\(host) is a read-only standby: DATABASE_URL must lead to the primary "
                    + "(for instance by target_session_attrs=read-write)", constraint: nil)
        }
        PQsetNoticeProcessor(opened, { _, _ in }, nil)
        // A blocking send of a long pipeline could deadlock: the server waits for us to read.
        PQsetnonblocking(opened, 1)
        connection = opened
        return opened
    }

    /// Linux's POLLRDHUP: the other side has stopped sending. Swift does not import the C name.
    private static let hungUp: Int16 = 0x2000

    /// The server closed the connection while it was idle and in no transaction, for instance because it was restarted.
    private func hasHungUp(_ connection: OpaquePointer) -> Bool {
        guard PQtransactionStatus(connection) == PQTRANS_IDLE else { return false }
        var state = pollfd(fd: PQsocket(connection), events: Self.hungUp, revents: 0)
        return poll(&state, 1, 0) > 0
    }

    private var options: String {
        // A stopped writer must not hold its rooms forever, and a dead writer's statement that waits for a lock must
        // not run later.
        "-c statement_timeout=\(statementTimeout.milliseconds) -c timezone=UTC "
            + "-c idle_in_transaction_session_timeout=\(transactionPause.milliseconds) -c client_connection_check_interval=500 "
            + Self.planning
    }

    /// Pgpool-II sends a SELECT to any standby unless a comment precedes it.
    private func text(of statement: SQL) -> String {
        way == .replica ? statement.text : "/*NO LOAD BALANCE*/ " + statement.text
    }

    /// Every statement is prepared and finds its rows by key, so one generic plan suits all values and all sizes and is
    /// kept: planning each time cost the server half of its CPU. Plans that suit only an empty table (sequential scans)
    /// are switched off, because the plan stays in use while the table grows. JIT is off: it decides by cost estimates
    /// that mean nothing then.
    private static let planning = """
        -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off \
        -c jit=off
        """

    private func failure(_ connection: OpaquePointer) -> PostgresError {
        PostgresError(state: nil, message: firstLine(String(cString: PQerrorMessage(connection))), constraint: nil)
    }

    // MARK: Sending

    /// Sends a PREPARE when this connection has not seen the text; returns whether it did.
    private func prepareIfNew(_ statement: SQL, _ connection: OpaquePointer) throws(PostgresError) -> Bool {
        guard isPrepared, prepared[statement.text] == nil else { return false }
        let name = "s\(prepared.count)"
        let types = statement.values.map { $0.oid }
        guard PQsendPrepare(connection, name, text(of: statement), Int32(types.count), types) == 1 else {
            throw failure(connection)
        }
        prepared[statement.text] = name
        return true
    }

    private func send(_ statement: SQL, _ connection: OpaquePointer) throws(PostgresError) {
        var bytes: [UInt8] = []
        // Offset and length of each value in `bytes`; nil for NULL.
        var places: [(offset: Int, length: Int)?] = []
        for value in statement.values {
            let start = bytes.count
            places.append(value.encode(into: &bytes) ? (start, bytes.count - start) : nil)
            // An empty value must not look like NULL: every pointer needs a byte to point at.
            bytes.append(0)
        }
        let sent = bytes.withUnsafeBytes { buffer in
            let pointers = places.map { place in
                place.map { buffer.baseAddress!.advanced(by: $0.offset).assumingMemoryBound(to: CChar.self) }
            }
            let lengths = places.map { Int32($0?.length ?? 0) }
            let formats = [Int32](repeating: 1, count: places.count)
            guard isPrepared else {
                return PQsendQueryParams(
                    connection, text(of: statement), Int32(places.count), statement.values.map(\.oid), pointers,
                    lengths,
                    formats, 1)
            }
            return PQsendQueryPrepared(
                connection, prepared[statement.text], Int32(places.count), pointers, lengths, formats, 1)
        }
        guard sent == 1 else { throw failure(connection) }
    }

    // MARK: Receiving

    private func collect(
        _ count: Int, _ preparing: Set<Int>, _ connection: OpaquePointer
    ) throws(PostgresError) -> [PGRows] {
        var results: [PGRows] = []
        results.reserveCapacity(count)
        for index in 0..<count {
            if preparing.contains(index) { _ = try one(connection) }
            results.append(try one(connection))
        }
        guard let sync = try next(connection), sync.isSync else { throw failure(connection) }
        return results
    }

    /// Reads one command's result and the terminating nil.
    private func one(_ connection: OpaquePointer) throws(PostgresError) -> PGRows {
        guard let result = try next(connection) else { throw failure(connection) }
        if let error = result.error { throw error }
        while try next(connection) != nil {}
        return result
    }

    /// Between two questions on the connection beside it, and for each answer.
    private static let silence = Duration.seconds(2)

    /// Like PQgetResult, with a time limit: the statement's own plus two seconds.
    private func next(_ connection: OpaquePointer) throws(PostgresError) -> PGRows? {
        let limit = answerLimit ?? statementTimeout + .seconds(2)
        let deadline = monotonicMilliseconds() + limit.milliseconds
        var askAt = watch == nil ? deadline : monotonicMilliseconds() + Self.silence.milliseconds
        while true {
            let unsent = PQflush(connection)
            guard unsent >= 0 else { throw failure(connection) }
            if unsent == 0, PQisBusy(connection) == 0 { break }
            let now = monotonicMilliseconds()
            guard deadline > now else {
                throw PostgresError(
                    state: nil, message: "no answer within its time limit", constraint: nil, isSlow: watch != nil,
                    silence: watch == nil ? limit : nil)
            }
            if now >= askAt {
                try askBeside(connection)
                askAt = monotonicMilliseconds() + Self.silence.milliseconds
            }
            let left = min(deadline, askAt) - monotonicMilliseconds()
            let events = Int16(POLLIN) | (unsent == 1 ? Int16(POLLOUT) : 0)
            var waiting = pollfd(fd: PQsocket(connection), events: events, revents: 0)
            if poll(&waiting, 1, Int32(max(0, min(left, 60_000)))) < 0, errno != EINTR { throw failure(connection) }
            if waiting.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0, PQconsumeInput(connection) != 1 {
                throw failure(connection)
            }
        }
        return PQgetResult(connection).map { PGRows($0) }
    }

    /// Returns when the server answers there, or has answered here meanwhile.
    private func askBeside(_ connection: OpaquePointer) throws(PostgresError) {
        guard let watch, !watch.answers(within: Self.silence) else { return }
        var answer = pollfd(fd: PQsocket(connection), events: Int16(POLLIN), revents: 0)
        guard poll(&answer, 1, 0) > 0 else {
            throw PostgresError(
                state: nil, message: "no answer, neither to a statement nor to a question beside it", constraint: nil,
                silence: Self.silence * 2)
        }
    }
}

/// A result; owns the memory of libpq.
public final class PGRows {
    private let result: OpaquePointer
    public let count: Int

    fileprivate init(_ result: OpaquePointer) {
        self.result = result
        count = Int(PQntuples(result))
    }

    deinit { PQclear(result) }

    fileprivate var isSync: Bool { PQresultStatus(result) == PGRES_PIPELINE_SYNC }

    fileprivate var isCopyIn: Bool { PQresultStatus(result) == PGRES_COPY_IN }

    fileprivate var error: PostgresError? {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_PIPELINE_SYNC, PGRES_EMPTY_QUERY: return nil
        case PGRES_PIPELINE_ABORTED:
            return PostgresError(state: nil, message: "an earlier statement failed", constraint: nil)
        default:
            func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
            // Pgpool-II gives no untranslated one.
            let severity = field(chat_pg_diag_severity()) ?? field(chat_pg_diag_translated_severity())
            return PostgresError(
                state: field(chat_pg_diag_sqlstate()),
                message: field(chat_pg_diag_message()) ?? firstLine(String(cString: PQresultErrorMessage(result))),
                constraint: field(chat_pg_diag_constraint()),
                isFatal: ["FATAL", "PANIC"].contains(severity))
        }
    }

    /// Rows that an INSERT, UPDATE or DELETE touched.
    public var affected: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

    public subscript(row: Int) -> PGRow { PGRow(rows: self, index: Int32(row)) }

    public func map<T>(_ read: (PGRow) throws -> T) rethrows -> [T] {
        var all: [T] = []
        all.reserveCapacity(count)
        for index in 0..<count { all.append(try read(self[index])) }
        return all
    }

    public var first: PGRow? { count > 0 ? self[0] : nil }

    /// Valid as long as these rows live; nil for NULL.
    func bytes(_ row: Int32, _ column: Int) -> UnsafeRawBufferPointer? {
        guard let start = PQgetvalue(result, row, Int32(column)) else {
            preconditionFailure("the statement has fewer columns")
        }
        let count = Int(PQgetlength(result, row, Int32(column)))
        // libpq shows NULL as an empty value, so only empty values need the check.
        guard count > 0 || PQgetisnull(result, row, Int32(column)) == 0 else { return nil }
        return UnsafeRawBufferPointer(start: start, count: count)
    }
}

/// One row; columns by position, in binary. Reading a column as another type is a programming error.
public struct PGRow {
    let rows: PGRows
    let index: Int32

    private func bytes(_ column: Int, _ size: Int) -> UnsafeRawBufferPointer? {
        let bytes = rows.bytes(index, column)
        precondition(bytes == nil || bytes?.count == size, "column \(column) has another type")
        return bytes
    }

    private func integer<T: FixedWidthInteger>(_ column: Int) -> T? {
        bytes(column, MemoryLayout<T>.size).map { T(bigEndian: $0.loadUnaligned(as: T.self)) }
    }

    public func isNull(_ column: Int) -> Bool { rows.bytes(index, column) == nil }
    public func optionalInt8(_ column: Int) -> Int64? { integer(column) }
    public func int8(_ column: Int) -> Int64 { integer(column)! }
    public func int4(_ column: Int) -> Int { Int(integer(column)! as Int32) }
    public func optionalInt4(_ column: Int) -> Int? { (integer(column) as Int32?).map(Int.init) }
    public func int2(_ column: Int) -> Int16 { integer(column)! }
    public func bool(_ column: Int) -> Bool { bytes(column, 1)![0] != 0 }

    public func optionalUUID(_ column: Int) -> UUID128? {
        bytes(column, 16).map {
            UUID128(
                high: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    public func uuid(_ column: Int) -> UUID128 { optionalUUID(column)! }

    /// Unix milliseconds.
    public func optionalTime(_ column: Int) -> Int64? { (integer(column) as Int64?).map { unixMilliseconds($0) } }
    public func time(_ column: Int) -> Int64 { optionalTime(column)! }

    public func optionalText(_ column: Int) -> String? {
        rows.bytes(index, column).map { String(decoding: $0, as: UTF8.self) }
    }

    public func text(_ column: Int) -> String { optionalText(column)! }
    /// Valid as long as the row's result lives; nil for NULL.
    func raw(_ column: Int) -> UnsafeRawBufferPointer? { rows.bytes(index, column) }
    public func bytes(_ column: Int) -> [UInt8]? { rows.bytes(index, column).map { Array($0) } }

    /// `uuid[]` of one dimension.
    public func uuids(_ column: Int) -> [UUID128] {
        guard let bytes = rows.bytes(index, column), bytes.count > 20 else { return [] }
        // ndim, flags, element type, then length and lower bound of the dimension; each element is length and 16 bytes.
        return stride(from: 20, to: bytes.count, by: 20).compactMap { UUID128(bytes: bytes[$0 + 4..<$0 + 20]) }
    }

    /// `jsonb`, whose binary form is a version byte and the text.
    public func jsonb(_ column: Int) -> [UInt8]? { rows.bytes(index, column).map { Array($0.dropFirst()) } }
}

private func firstLine(_ text: String) -> String {
    String(text.split(separator: "\n").first ?? "unknown error")
}
