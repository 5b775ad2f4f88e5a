import ChatCore

/// Turns a bearer token into a browser's cookie, for pages without JavaScript.
struct SessionEndpoints {
    let services: EndpointServices
    let web: WebSettings
    /// Makes a token of a subject for some seconds; nil: there is no secret to sign it with.
    let issue: (String, Int64) -> String?

    func add(to router: inout Router) {
        router.on("POST", "/session", begin)
        router.on("DELETE", "/session", open: true) { call in
            var response = Response.noContent
            response.headers = [
                SessionCookie.header("", seconds: 0, call.request, web),
                // Removes the cookie of the previous release.
                SessionCookie.header("", seconds: 0, call.request, web, path: "/"),
            ]
            return response
        }
    }

    /// The request's own token, or one for the user for whom a key acts, or of a session of the host: the cookie would
    /// carry a key into a browser.
    private func token(_ call: Call, _ identity: Identity) throws(Refusal) -> String {
        guard call.hosted != nil || call.session != nil else { return try services.authentication.bearer(call) }
        let seconds = max(0, identity.expiresAt - services.clock() / 1000)
        guard let token = issue(identity.externalID ?? identity.user.description, seconds) else {
            throw Refusal(.conflict, "this service signs no tokens: begin the session with a token of the user")
        }
        return token
    }

    private func begin(_ call: Call) throws(Refusal) -> Response {
        let identity = try services.authentication.identity(call)
        let token = try token(call, identity)
        guard token.utf8.count <= SessionCookie.longestToken else {
            throw .invalid(
                "Authorization",
                "has a token of more than \(SessionCookie.longestToken) bytes, which no browser keeps in a cookie")
        }
        let end = identity.expiresAt
        var response = Response.data {
            $0.map {
                $0.field("UserID", identity.user)
                $0.field("ExpiresAt", time: end * 1000)
            }
        }
        let seconds = max(0, end - services.clock() / 1000)
        response.headers += [
            SessionCookie.header(token, seconds: seconds, call.request, web),
            ("Cache-Control", "no-store"),
        ]
        return response
    }
}
