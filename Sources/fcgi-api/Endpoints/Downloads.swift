import ChatAdapters
import ChatCore
import Glibc

/// Serves files to the members of their room, by links that are valid for a short time.
struct DownloadEndpoints {
    let uploads: UploadServices
    /// nginx follows the link instead of the client.
    let isProxied: Bool
    /// Signs links to a folder's files; nil: the store has links of its own.
    let links: FileLinks?

    /// How long a link to a file is valid.
    static let linkLifetime = Duration.seconds(300)
    /// The same for a link that only nginx follows, and at once. Longer by the difference of clocks that S3 accepts: with
    /// a clock that is slow by `linkLifetime` the store would refuse every link as expired.
    private static let proxiedLifetime = linkLifetime + .seconds(900)
    private var seconds: Int { Int((isProxied && links == nil ? Self.proxiedLifetime : Self.linkLifetime).seconds) }

    /// The file is served from the API's origin, not from a store's.
    private var isOurOrigin: Bool { links != nil || isProxied }

    func add(to router: inout Router) {
        // The session cookie is enough here.
        router.on("GET", "/files/{id}", open: true, download)
        router.on("GET", "/files/{id}/thumbnail", open: true, thumbnail)
        if let links {
            // The signed link replaces the token.
            router.on(
                "GET", "/files/stored/{folder}/{id}", open: true,
                query: ["name", "type", "attachment", "expires", "signature"]
            ) { call throws(Refusal) in
                try stored(call, links)
            }
        }
    }

    private func download(_ call: Call) throws(Refusal) -> Response {
        let (message, file) = try seen(call)
        let type = MediaType(file.contentType) ?? .unknown
        if call.request.method == "HEAD" {
            return facts(
                (type.isActive ? .unknown : type).description, file.name, asAttachment: !type.isShownInline, file.size)
        }
        if let link = try uploads.upload.stores.link(of: message.forwardedFrom ?? message.id) { return elsewhere(link) }
        return answer(
            call,
            uploads.objects.downloadLink(
                for: UploadFile.key(message), name: file.name,
                contentType: (type.isActive ? .unknown : type).description,
                asAttachment: !type.isShownInline || isOurOrigin && type.canRunScripts,
                seconds: seconds))
    }

    private func thumbnail(_ call: Call) throws(Refusal) -> Response {
        let (message, file) = try complete(call)
        guard file.thumbnailURL != nil else { throw Refusal(.notFound, "the file has no thumbnail") }
        let key = UploadFile.thumbnailKey(message.forwardedFrom ?? message.id)
        if call.request.method == "HEAD" {
            let size = try uploads.upload.stores.objects { store throws(StoreError) in try store.size(of: key) }
            guard let size else { throw Refusal(.notFound, "the file has no thumbnail") }
            return facts("image/jpeg", "thumbnail.jpg", asAttachment: false, size)
        }
        return answer(
            call,
            uploads.objects.downloadLink(
                for: key, name: "thumbnail.jpg",
                contentType: "image/jpeg", asAttachment: false, seconds: seconds))
    }

    /// How long a picture that may contain a location waits for its inspection. After that the inspector
    /// counts as unavailable, and the picture is served as it is.
    private static let inspectionTimeout = Duration.seconds(60)
    /// How long one request waits of that time.
    private static let inspectionWait = Duration.seconds(5)
    private static let headBytes = 16_384

    /// Other members get a picture only after its location was removed. Its sender has the original anyway.
    private func seen(_ call: Call) throws(Refusal) -> (Message, FileInfo) {
        let (message, file) = try complete(call)
        guard let user = call.user, try isUnseen(message, file, user) else { return (message, file) }
        let busy = Refusal.busy("the picture is still being inspected")
        do throws(Refusal) {
            // Only one request of each user waits, so that no user can block all workers.
            try uploads.upload.stores.alone(user) { () throws(Refusal) in
                let end = monotonicMilliseconds() + Self.inspectionWait.milliseconds
                while try record(of: message)?.unseenSince != nil {
                    guard monotonicMilliseconds() < end else { throw busy }
                    usleep(100_000)
                }
            }
        } catch { throw error.code == .locked ? busy : error }
        return try complete(call)
    }

    private func record(of message: Message) throws(Refusal) -> UploadRecord? {
        try uploads.upload.stores.record(of: message.forwardedFrom ?? message.id)
    }

    private func isUnseen(_ message: Message, _ file: FileInfo, _ user: UUID128) throws(Refusal) -> Bool {
        guard MediaType(file.contentType)?.contentType == .image, message.senderID != user, file.size > 0,
            let since = try record(of: message)?.unseenSince,
            uploads.services.clock() - since < Self.inspectionTimeout.milliseconds
        else { return false }
        let head = try uploads.upload.stores.objects { store throws(StoreError) in
            try store.head(of: UploadFile.key(message), bytes: Self.headBytes)
        }
        return PictureMetadata.mayBe(in: head)
    }

    /// HEAD is answered here: the store's link is signed for GET only.
    private func facts(_ type: String, _ name: String, asAttachment: Bool, _ size: Int64) -> Response {
        var response = Response(status: 200, type: type)
        response.length = size
        response.headers += [
            ("Content-Disposition", contentDisposition(name, asAttachment: asAttachment)),
            ("Accept-Ranges", "bytes"), ("Cache-Control", "private, no-store"), ("X-Content-Type-Options", "nosniff"),
        ]
        return response
    }

    private func complete(_ call: Call) throws(Refusal) -> (Message, FileInfo) {
        // A browser that follows a plain link sends only its cookie. SameSite keeps other sites' pages from using it.
        _ = try uploads.services.authentication.userOrCookie(call)
        let message = try uploads.services.newest(try call.uuid("id"), call)
        guard message.status == .sent || message.status == .seen, let file = message.file else {
            throw Refusal(.messageNotFound, "the message has no complete file")
        }
        return (message, file)
    }

    /// The host gave the address with an import: the browser goes there, and not nginx.
    private func elsewhere(_ link: String) -> Response {
        var response = Response(status: 302)
        response.headers = [
            ("Location", link), ("Cache-Control", "private, no-store"), ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return response
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

    /// A path works under every address of the service. At the public address the link may be absolute, for clients
    /// that support only such links.
    private func ownAddress(_ link: String, _ request: Request) -> String {
        let path = request.prefix + link
        let origin = uploads.web.publicOrigin
        guard let host = request.header("host"), !origin.isEmpty,
            origin.utf8.elementsEqual("http://\(host)".utf8) || origin.utf8.elementsEqual("https://\(host)".utf8)
        else { return path }
        return origin + path
    }

    /// nginx sends the path and the signature to the store, with the signed host name.
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

    /// Serves a file of the folder to anyone with a valid link. nginx sends the bytes and handles ranges.
    private func stored(_ call: Call, _ links: FileLinks) throws(Refusal) -> Response {
        let key = "\(call.text("folder"))/\(try call.uuid("id"))"
        guard ["files", "thumbnails"].contains(call.text("folder")),
            let target = links.target(of: key, { call.request.query[$0] }), MediaType(target.contentType) != nil
        else { throw Refusal(.forbidden, "the link is invalid or has expired") }
        var response = Response(status: 200, type: target.contentType)
        response.headers += [
            ("Content-Disposition", target.disposition),
            ("Cache-Control", "private, max-age=\(Self.linkLifetime.seconds)"),
            ("X-Accel-Redirect", "@chat_files"), ("X-Chat-File", key),
        ]
        return response
    }
}
