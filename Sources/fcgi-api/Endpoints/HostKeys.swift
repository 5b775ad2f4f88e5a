import ChatCore
import Crypto
import Logging

/// Admits the host application by one of its keys, for any user, and writes the audit log.
final class HostKeys {
    /// The name of `ADMIN_API_KEY` in the audit log.
    static let settingName = "ADMIN_API_KEY"
    static let header = "X-Chat-User"
    /// How long a found key is cached: half of the promised second.
    private static let freshness = Duration.milliseconds(500)
    private static let remembered = 1000
    /// Bytes of a path in the audit log.
    private static let longestPath = 500

    let store: any KeyStore
    private let settings: AuditSettings
    private let directory: UserDirectory?
    private let clock: Clock
    private let log: Logger
    /// SHA-256 of `ADMIN_API_KEY`; nil: there is none.
    private let settingHash: [UInt8]?
    private var known: [[UInt8]: (key: ServerKey, since: Int64)] = [:]

    init(
        store: any KeyStore, setting: String, _ settings: AuditSettings, directory: UserDirectory? = nil,
        clock: @escaping Clock = systemClock, log: Logger = Logger(label: "fcgi-api")
    ) {
        self.store = store
        self.settings = settings
        self.directory = directory
        self.clock = clock
        self.log = log
        settingHash = setting.isEmpty ? nil : Self.hash(setting)
    }

    /// Comparing digests takes a time that does not depend on how much of the texts is equal.
    static func hash(_ text: String) -> [UInt8] { Array(SHA256.hash(data: Array(text.utf8))) }

    /// Without `ADMIN_API_KEY` the host's own endpoints answer 404 to strangers, as before other keys existed.
    var hasSetting: Bool { settingHash != nil }

    // MARK: Admission

    /// Called for each route before anything else of the request is read. Without a key it does nothing: the request
    /// may have a token.
    func admit(_ call: Call) throws(Refusal) {
        guard let operation = call.operation, let needed = operation.scope else { return }
        guard let text = call.request.bearer, let key = try key(text) else {
            guard call.request.header(Self.header) == nil || call.request.header("authorization") != nil else {
                throw Refusal(
                    .unauthorized, "\(Self.header) needs a key of the server: Authorization: Bearer <key>",
                    field: Self.header)
            }
            return
        }
        call.key = key
        call.isHost = true
        guard key.scope >= needed else {
            // For the audit log.
            if !operation.isAdmin { call.onBehalf = (try? Self.user(call))??.id }
            throw Refusal(
                .forbidden, "this key has the scope \(key.scope.name), and the operation needs \(needed.name)")
        }
        // Otherwise the audit log would name a user for whom nothing was done.
        guard !operation.isAdmin || call.request.header(Self.header) == nil else {
            throw .invalid(Self.header, "is not used in /admin: these operations act for the host itself")
        }
        guard let user = try Self.user(call) else {
            guard operation.isForHost else {
                throw .invalid(Self.header, "is missing: it names the user for whom the key acts")
            }
            call.user = .zero
            return
        }
        call.onBehalf = user.id
        call.user = call.note(user)
        call.hosted = user
        // A key with the scope `read` must not store ids that it made up.
        guard needed > .read else { return }
        directory?.learn(Identity(user: user.id, expiresAt: .max, externalID: user.externalID), at: clock())
    }

    /// nil: the text is not a key but, perhaps, a user's token.
    private func key(_ text: String) throws(Refusal) -> ServerKey? {
        let isKey = ServerKey.isText(text)
        guard isKey || settingHash != nil else { return nil }
        let hash = Self.hash(text)
        if hash == settingHash { return ServerKey(name: Self.settingName, scope: .admin) }
        guard isKey else { return nil }
        let now = clock()
        if let entry = known[hash], (0..<Self.freshness.milliseconds).contains(now - entry.since) { return entry.key }
        known[hash] = nil
        let found: ServerKey?
        do throws(StoreError) { found = try store.key(hash: hash) } catch {
            log.error("a key could not be looked up", metadata: ["error": "\(error)"])
            throw .unavailable("the database")
        }
        guard let found else { throw Refusal(.unauthorized, "the key is unknown, or was revoked") }
        if known.count >= Self.remembered { known.removeAll(keepingCapacity: true) }
        known[hash] = (found, now)
        return found
    }

    /// The user of `X-Chat-User`, percent-encoded, so that any text fits into a header; nil: there is no such
    /// header.
    private static func user(_ call: Call) throws(Refusal) -> HostUser? {
        guard let text = call.request.header(header) else { return nil }
        guard text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw .invalid(header, "has blanks or letters that are not ASCII: percent-encode it")
        }
        guard let decoded = try? percentDecoded(text) else {
            throw .invalid(header, "is not percent-encoded UTF-8: write % as %25")
        }
        return try RequestFields.user(decoded, header)
    }

    // MARK: The audit log

    /// Reads at users' endpoints are recorded only with `AUDIT_READS`: they change nothing, and there are many.
    func record(_ call: Call, status: Int) {
        guard let key = call.key, let operation = call.operation, let needed = operation.scope,
            needed > .read || operation.isAdmin || settings.keepsReads
        else { return }
        let user = call.onBehalf ?? (call.user == .zero ? nil : call.user)
        let entry = AuditEntry(
            key: key.name, operation: operation.name, path: Self.path(call, operation), user: user, status: status,
            requestID: call.requestID)
        do throws(StoreError) { try store.record(entry, keepingFor: settings.keepsFor) } catch {
            log.error(
                "an entry of the audit log was not stored",
                metadata: [
                    "key": "\(key.name)", "operation": "\(operation.name)", "status": "\(status)", "error": "\(error)",
                ])
        }
    }

    /// A token in a path is a secret: then the route is recorded instead. PostgreSQL accepts no NUL.
    private static func path(_ call: Call, _ operation: Operation) -> String {
        guard operation.name.utf8.firstRange(of: "{token}".utf8) == nil else { return "" }
        return String(
            decoding: call.request.path.utf8.prefix(longestPath).filter { $0 > 0x20 && $0 < 0x7f }, as: UTF8.self)
    }
}
