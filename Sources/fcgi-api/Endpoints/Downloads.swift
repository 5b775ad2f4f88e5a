import ChatCore

/// Files for the members of their room: by a link that is good for a short time.
struct DownloadEndpoints {
    let desk: UploadDesk

    /// Seconds that a link to a file is good for.
    static let linkSeconds = 300

    func add(to router: inout Router) {
        router.on("GET", "/files/{id}") { call throws(Refusal) in try download(call) }
        router.on("GET", "/files/{id}/thumbnail") { call throws(Refusal) in try thumbnail(call) }
    }

    private func download(_ call: Call) throws(Refusal) -> Response {
        let (message, file) = try complete(call)
        let type = MediaType(file.contentType) ?? .unknown
        return redirect(
            to: desk.objects.downloadLink(
                for: UploadFile.key(message), name: file.name,
                contentType: (type.isActive ? .unknown : type).description, asAttachment: !type.isShownInline,
                seconds: Self.linkSeconds))
    }

    private func thumbnail(_ call: Call) throws(Refusal) -> Response {
        let (message, file) = try complete(call)
        guard file.thumbnailURL != nil else { throw Refusal(.notFound, "the file has no thumbnail") }
        return redirect(
            to: desk.objects.downloadLink(
                for: UploadFile.thumbnailKey(message.forwardedFrom ?? message.id), name: "thumbnail.jpg",
                contentType: "image/jpeg", asAttachment: false, seconds: Self.linkSeconds))
    }

    private func complete(_ call: Call) throws(Refusal) -> (Message, FileInfo) {
        // A browser follows a plain link with its cookie alone. SameSite keeps other sites' pages from using it.
        _ = try desk.doors.userOrCookie(call)
        let message = try desk.doors.newest(try call.uuid("id"), call)
        guard message.status == .sent || message.status == .seen, let file = message.file else {
            throw Refusal(.messageNotFound, "the message has no file that is complete")
        }
        return (message, file)
    }

    private func redirect(to link: String) -> Response {
        var response = Response(status: 302)
        response.headers = [
            ("Location", link), ("Cache-Control", "private, no-store"), ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return response
    }
}
