/// How the host application is notified and asked.
public struct HookSettings: Sendable {
    /// The URL for events, of HTTP or a ``FastCGIAddress``; empty: none are sent.
    public var url: String
    /// The families of events that are sent there; empty without a URL.
    public var families: Set<HookFamily>
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
        let named = Self.names(&values, "WEBHOOK_EVENTS", HookFamily.self, default: "message,room,member,report")
        families = url.isEmpty ? [] : named
        checkURL = values.text("MESSAGE_CHECK_URL", default: "")
        checkedActs = Self.names(&values, "MESSAGE_CHECK_ACTS", CheckedAct.self, default: "message")
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

    /// A list of cases by their names.
    private static func names<Name: RawRepresentable<String> & CaseIterable & Hashable>(
        _ values: inout SettingsReader, _ setting: String, _ type: Name.Type, default fallback: String
    ) -> Set<Name> {
        var found: Set<Name> = []
        for text in pieces(of: values.text(setting, default: fallback), at: UInt8(ascii: ",")).map({ trimmed($0) }) {
            guard let name = Name.allCases.first(where: { areSameBytes($0.rawValue, text) }) else {
                let all = Name.allCases.map(\.rawValue).joined(separator: ", ")
                values.problem("\(setting): \(text) is not one of: \(all)")
                continue
            }
            found.insert(name)
        }
        return found
    }
}
