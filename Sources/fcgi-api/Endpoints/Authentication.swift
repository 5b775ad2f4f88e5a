import ChatCore

/// Finds the user for whom a request is: by its token, by a cookie, or by the key of the host application.
final class Authentication {
    private let tokens: any TokenVerifier
    private let directory: UserDirectory?
    private let sessions: HostSessions?
    private let clock: Clock

    /// - Parameters:
    ///   - directory: learns the names in tokens; nil: they are not kept.
    ///   - sessions: recognises the host's cookies; nil: they are ignored.
    init(
        tokens: any TokenVerifier, directory: UserDirectory? = nil, sessions: HostSessions? = nil,
        clock: @escaping Clock = systemClock
    ) {
        self.tokens = tokens
        self.directory = directory
        self.sessions = sessions
        self.clock = clock
    }

    /// The user that the request's token proves, or the host's cookies.
    func user(_ call: Call) throws(Refusal) -> UUID128 {
        if let user = call.user { return user }
        return try proved(call).user
    }

    private func proved(_ call: Call) throws(Refusal) -> Identity {
        if let known = call.session { return known }
        guard let identity = try sessions?.identity(call.request) else { return try take(try bearer(call), call) }
        call.session = identity
        call.user = identity.user
        directory?.learn(identity, at: clock())
        return identity
    }

    /// How long the host application acts for a user by one request: the socket of a ticket, a session.
    static let hostedLifetime = Duration.seconds(3600)

    /// The identity in the request's token, of the host's session, or of the user for whom a key acts.
    func identity(_ call: Call) throws(Refusal) -> Identity {
        guard let user = call.hosted else { return try proved(call) }
        let now = clock()
        return Identity(
            user: user.id, expiresAt: now / 1000 + Self.hostedLifetime.seconds, issuedAt: now,
            externalID: user.externalID)
    }

    /// The request's token, not yet verified.
    func bearer(_ call: Call) throws(Refusal) -> String {
        guard call.request.header("authorization") != nil else {
            throw Refusal(.unauthorized, "send a token: Authorization: Bearer <JWT>")
        }
        guard let token = call.request.bearer else {
            throw Refusal(.unauthorized, "the Authorization header is not of the form: Bearer <JWT>")
        }
        return token
    }

    /// Authenticates a page without JavaScript: by a header, by a field of the form, or by the ``SessionCookie`` when
    /// the form is on one of our own pages.
    func user(_ call: Call, form token: String?, web: WebSettings) throws(Refusal) -> UUID128 {
        guard call.request.header("authorization") == nil else { return try user(call) }
        if let token { return try take(token, call).user }
        guard let cookie = SessionCookie.token(call.request) else { return try user(call) }
        try SameOrigin.check(call.request, web)
        return try take(cookie, call).user
    }

    /// For a request that changes nothing: the cookie alone is enough.
    func userOrCookie(_ call: Call) throws(Refusal) -> UUID128 {
        guard call.request.header("authorization") == nil, let cookie = SessionCookie.token(call.request) else {
            return try user(call)
        }
        return try take(cookie, call).user
    }

    private func take(_ token: String, _ call: Call) throws(Refusal) -> Identity {
        let identity = try tokens.verify(token)
        guard call.request.header(HostKeys.header) == nil else {
            throw Refusal(
                .forbidden, "\(HostKeys.header) is for keys of the server: a user's token acts for its own user",
                field: HostKeys.header)
        }
        call.user = identity.user
        directory?.learn(identity, at: clock())
        return identity
    }
}

/// The sessions of the host application, for requests without an `Authorization` header.
struct HostSessions {
    let settings: SessionSettings
    let web: WebSettings
    let recognise: RecogniseSession

    /// Nil: the request has a token, or no cookie that is passed on.
    func identity(_ request: Request) throws(Refusal) -> Identity? {
        guard request.header("authorization") == nil, let question = SessionQuestion(request, settings) else {
            return nil
        }
        // A browser sends cookies along with what another site's page requests.
        if !["GET", "HEAD"].contains(request.method) {
            try SameOrigin.check(request, web, others: web.origins.filter { $0 != "*" })
        }
        return try recognise.identity(of: question)
    }
}
