public import ChatCore
import Crypto

/// Asks the host application whose session a request's cookies are.
///
/// The cookies and the named headers come as those of the request itself, so that a script finds its session as it does
/// for a page. The body is `{"Event": "session.check", "Address"}`. The answer is 200 with `{"User", "Name"?,
/// "Picture"?, "Seconds"?}`; 401, 403 and a `User` of null mean that there is no session.
public final class HostSessionCheck: SessionCheck {
    /// For how long an answer may say that it counts.
    private static let longestLifetime: Int64 = 3600

    private let client: HookClient
    private let settings: SessionSettings
    private let secret: SymmetricKey
    private let clock: Clock

    public init(_ settings: HookSettings, clock: @escaping Clock = systemClock) {
        // The error stream of a script may repeat a cookie, and failures are logged.
        client = HookClient(settings, clock: clock, keepsErrors: false)
        self.settings = settings.session
        secret = SymmetricKey(data: Array(settings.secret.utf8))
        self.clock = clock
    }

    public func key(of question: SessionQuestion) -> [UInt8] {
        var hash = HMAC<SHA256>(key: secret)
        for text in [question.cookies] + question.headers.flatMap({ [$0.name, $0.value] }) {
            // Ended by a byte that no header has, so that no two lists give the same bytes.
            hash.update(data: Array(text.utf8) + [0])
        }
        return Array(hash.finalize())
    }

    public func session(of question: SessionQuestion) throws(SessionCheckFailure) -> HostSession? {
        var writer = JSONWriter()
        writer.map {
            $0.field("Event", "session.check")
            $0.field("Address", question.address)
        }
        let answer: HTTPTransfer.Answer
        do throws(HTTPTransfer.Failure) {
            answer = try client.post(
                writer.take(), to: settings.url, [("Cookie", question.cookies)] + question.headers, settings.timeout
            ).get()
        } catch { throw SessionCheckFailure(error.description) }
        guard answer.status != 401, answer.status != 403 else { return nil }
        guard answer.status == 200, let value = try? JSONReader.decode(answer.body), value["User"] != nil else {
            throw SessionCheckFailure(
                "it named no User: \(answer.summary)", concernsQuestion: Self.concernsQuestion(answer.status))
        }
        return try session(value)
    }

    /// A host that is in trouble says so by 408, 429 and 5xx. Other answers are to these cookies: many servers answer 400 to
    /// cookies that are too long for them.
    private static func concernsQuestion(_ status: Int) -> Bool { status < 500 && status != 408 && status != 429 }

    private func session(_ value: WireValue) throws(SessionCheckFailure) -> HostSession? {
        let text: String
        switch value["User"] {
        case .string(let name)?: text = name
        // An id may be a number of the host's database.
        case .int(let number)?: text = "\(number)"
        case nil, .null?: return nil
        default: throw SessionCheckFailure("its User is neither a text nor a whole number", concernsQuestion: true)
        }
        let user: HostUser
        do throws(HostUser.Problem) { user = try HostUser(text) } catch {
            throw SessionCheckFailure("its User \(error.text)", concernsQuestion: true)
        }
        let seconds =
            value["Seconds"]?.int.map { min(max($0, 0), Self.longestLifetime) } ?? settings.times.fresh.seconds
        let now = clock()
        // Each request reads them from the cache: longer ones, which nobody would see, are not kept there.
        return HostSession(
            user: user, name: value["Name"]?.string.flatMap { Profile.isName($0) ? $0 : nil },
            picture: value["Picture"]?.string.flatMap { Profile.isAvatar($0) ? $0 : nil }, askedAt: now,
            freshUntil: now + seconds * 1000)
    }
}
