import ChatAdapters
import ChatCore

/// Files for the members of their room: by a link that is good for a short time.
struct DownloadEndpoints {
    let desk: UploadDesk
    /// nginx follows the link in the client's place.
    let isProxied: Bool
    /// Of a folder's files; nil: the store has links of its own.
    let links: FileLinks?

    /// Seconds that a link to a file is good for.
    static let linkSeconds = 300

    /// The file comes from the origin of the API, and not from a store's.
    private var isOurOrigin: Bool { links != nil || isProxied }

    func add(to router: inout Router) {
        // A cookie is enough here.
        router.on("GET", "/files/{id}", open: true) { call throws(Refusal) in try download(call) }
        router.on("GET", "/files/{id}/thumbnail", open: true) { call throws(Refusal) in try thumbnail(call) }
        if let links {
            // The link is signed.
            router.on(
                "GET", "/files/stored/{folder}/{id}", open: true,
                query: ["name", "type", "attachment", "expires", "signature"]
            ) { call throws(Refusal) in
                try stored(call, links)
            }
        }
    }

    private func download(_ call: Call) throws(Refusal) -> Response {
        let (message, file) = try complete(call)
        let type = MediaType(file.contentType) ?? .unknown
        return answer(
            call,
            desk.objects.downloadLink(
                for: UploadFile.key(message), name: file.name,
                contentType: (type.isActive ? .unknown : type).description,
                asAttachment: !type.isShownInline || isOurOrigin && type.canRunScripts,
                seconds: Self.linkSeconds))
    }

    private func thumbnail(_ call: Call) throws(Refusal) -> Response {
        let (message, file) = try complete(call)
        guard file.thumbnailURL != nil else { throw Refusal(.notFound, "the file has no thumbnail") }
        return answer(
            call,
            desk.objects.downloadLink(
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

    private func answer(_ call: Call, _ link: String) -> Response {
        if isProxied, links == nil, let response = proxied(link, call) { return response }
        var response = Response(status: 302)
        response.headers = [
            ("Location", links == nil ? link : ownAddress(link, call.request)), ("Cache-Control", "private, no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return response
    }

    /// A path is right wherever the client came from. Beside the public address it may be whole, for clients that know no
    /// other links.
    private func ownAddress(_ link: String, _ request: Request) -> String {
        let path = request.prefix + link
        let origin = desk.web.publicOrigin
        guard let host = request.header("host"), !origin.isEmpty,
            origin.utf8.elementsEqual("http://\(host)".utf8) || origin.utf8.elementsEqual("https://\(host)".utf8)
        else { return path }
        return origin + path
    }

    /// nginx takes the path and the signature to the store, with the host name that was signed.
    private func proxied(_ link: String, _ call: Call) -> Response? {
        guard let scheme = link.firstRange(of: "://") else { return nil }
        let rest = link[scheme.upperBound...]
        let host = rest.prefix { $0 != "/" }
        var response = Response(status: 200)
        response.headers = [
            ("X-Accel-Redirect", "@chat_store"), ("X-Chat-Store", String(host)),
            ("X-Chat-Path", String(rest.dropFirst(host.count))),
        ]
        return response
    }

    /// A file of the folder, for whoever has a link to it. nginx sends it: ranges and all.
    private func stored(_ call: Call, _ links: FileLinks) throws(Refusal) -> Response {
        let key = "\(call.text("folder"))/\(try call.uuid("id"))"
        guard ["files", "thumbnails"].contains(call.text("folder")),
            let target = links.target(of: key, { call.request.query[$0] }), MediaType(target.contentType) != nil
        else { throw Refusal(.forbidden, "the link is not good, or not any more") }
        var response = Response(status: 200, type: target.contentType)
        response.headers += [
            ("Content-Disposition", target.disposition), ("Cache-Control", "private, max-age=\(Self.linkSeconds)"),
            ("X-Accel-Redirect", "@chat_files"), ("X-Chat-File", key),
        ]
        return response
    }
}
