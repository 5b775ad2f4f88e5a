/// How the host application is notified and asked.
public struct HookSettings: Sendable {
    /// The URL for events, of HTTP or a ``FastCGIAddress``; empty: none are sent.
    public var url: String
    /// The URL that checks messages before they are stored; empty: no check.
    public var checkURL: String
    /// The acts about which it is asked.
    public var checkedActs: Set<CheckedAct>
    /// The URL for pushes to devices of the kind `webhook`; empty: there are none.
    public var pushURL: String
    /// The key of the requests' signature. A secret.
    public var secret: String
    /// Time limits of one event's request, and of one check.
    public var timeout: Duration
    public var checkTimeout: Duration
    /// Tries after which an event is dead.
    public var attempts: Int
    /// A failed check rejects the message instead of allowing it.
    public var refusesUnchecked: Bool
    /// The URLs of HTTP may lead to this machine or into a private network. FastCGI always may.
    public var mayBePrivate: Bool
    /// Asks whose session a request's cookies are.
    public var session: SessionSettings
    /// A file of certificate authorities in addition to the system's.
    public var authorities: String?

    init(_ values: inout SettingsReader) {
        url = values.text("WEBHOOK_URL", default: "")
        checkURL = values.text("MESSAGE_CHECK_URL", default: "")
        checkedActs = Self.acts(&values)
        pushURL = values.text("PUSH_WEBHOOK_URL", default: "")
        values.expectHook("WEBHOOK_URL", url)
        values.expectHook("MESSAGE_CHECK_URL", checkURL)
        values.expectHook("PUSH_WEBHOOK_URL", pushURL)
        secret = values.text("WEBHOOK_SECRET", default: "")
        timeout = values.milliseconds("WEBHOOK_TIMEOUT_MS", default: 5000, in: 10...60_000)
        checkTimeout = values.milliseconds("MESSAGE_CHECK_TIMEOUT_MS", default: 1000, in: 10...10_000)
        attempts = values.number("WEBHOOK_ATTEMPTS", default: 14, in: 1...100)
        refusesUnchecked = values.choice("MESSAGE_CHECK_FAILURE", ["allow", "refuse"], default: "allow") == "refuse"
        mayBePrivate = values.choice("WEBHOOK_PRIVATE", ["no", "yes"], default: "no") == "yes"
        session = SessionSettings(&values)
        if ![url, checkURL, pushURL, session.url].allSatisfy(\.isEmpty), secret.utf8.count < 32 {
            values.problem("WEBHOOK_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
    }

    private static func acts(_ values: inout SettingsReader) -> Set<CheckedAct> {
        let names = pieces(of: values.text("MESSAGE_CHECK_ACTS", default: "message"), at: UInt8(ascii: ","))
        var acts: Set<CheckedAct> = []
        for name in names.map({ trimmed($0) }) {
            guard let act = CheckedAct.allCases.first(where: { areSameBytes($0.rawValue, name) }) else {
                let all = CheckedAct.allCases.map(\.rawValue).joined(separator: ", ")
                values.problem("MESSAGE_CHECK_ACTS: \(name) is not one of: \(all)")
                continue
            }
            acts.insert(act)
        }
        return acts
    }
}
