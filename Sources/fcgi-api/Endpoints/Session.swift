import ChatCore

/// Turns a bearer token into a browser's cookie, for pages without JavaScript.
struct SessionEndpoints {
    let doors: Doors
    let web: WebSettings

    func add(to router: inout Router) {
        router.on("POST", "/session") { call throws(Refusal) in try begin(call) }
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

    private func begin(_ call: Call) throws(Refusal) -> Response {
        let identity = try doors.identity(call)
        let token = try doors.bearer(call)
        guard token.utf8.count <= SessionCookie.longestToken else {
            throw .invalid(
                "Authorization",
                "has a token of more than \(SessionCookie.longestToken) bytes, which no browser keeps in a cookie")
        }
        let end = identity.expiresAt
        var response = Response.data { writer in
            writer.beginMap(2)
            writer.key("UserID")
            writer.uuid(identity.user)
            writer.key("ExpiresAt")
            writer.timestamp(end * 1000)
            writer.endMap()
        }
        let seconds = max(0, end - doors.clock() / 1000)
        response.headers += [
            SessionCookie.header(token, seconds: seconds, call.request, web),
            ("Cache-Control", "no-store"),
        ]
        return response
    }
}
