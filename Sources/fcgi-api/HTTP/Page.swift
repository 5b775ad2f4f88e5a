import ChatCore
import Crypto

/// Security headers that restrict how a browser may use an answer.
enum Protection {
    /// For an answer that is not a page: even if a browser shows it, nothing in it runs, loads or is framed.
    static let policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"

    static func headers(beside response: Response) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = [("X-Frame-Options", "DENY")]
        if !response.headers.contains(where: { $0.name == "X-Content-Type-Options" }) {
            headers.append(("X-Content-Type-Options", "nosniff"))
        }
        if !response.headers.contains(where: { $0.name == "Content-Security-Policy" }) {
            headers.append(("Content-Security-Policy", policy))
        }
        return headers
    }

    /// For our own page: allows only its scripts, by their hashes.
    static func policy(page: [UInt8]) -> String {
        let hashes = scripts(in: page).map { " 'sha256-\(base64(Array(SHA256.hash(data: $0))))'" }.joined()
        return
            "default-src 'none'; script-src 'self'\(hashes); style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            + "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    }

    /// The texts of `<script>…</script>`.
    private static func scripts(in page: [UInt8]) -> [ArraySlice<UInt8>] {
        var found: [ArraySlice<UInt8>] = []
        var rest = page[...]
        while let tag = rest.firstRange(of: Array("<script".utf8)) {
            rest = rest[tag.upperBound...]
            guard let open = rest.firstIndex(of: UInt8(ascii: ">")),
                let end = rest[open...].firstRange(of: Array("</script".utf8))
            else { break }
            found.append(rest[(open + 1)..<end.lowerBound])
            rest = rest[end.upperBound...]
        }
        return found
    }
}

extension Response {
    /// A refusal as a page for people: plain words, a link back, and the id by which the log can be searched.
    static func page(_ refusal: Refusal, like response: Response, _ call: Call) -> Response {
        let html = """
            <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\
            <title>The file was not sent</title>
            <h1>The file was not sent</h1><p>\(escaped(withLargeUnits(refusal.message)))</p>
            <p><a href="\(escaped(wayBack(call.request)))">Back</a></p>
            <p><small><code>\(refusal.code.rawValue)</code> \(escaped(call.requestID))</small></p></html>\n
            """
        var page = Response(status: response.status, type: "text/html; charset=utf-8", body: Array(html.utf8))
        page.headers += response.headers.filter { $0.name != "Content-Type" }
        return page
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing(
            "\"", with: "&quot;")
    }

    /// The address of the form, if it is a page of this host.
    private static func wayBack(_ request: Request) -> String {
        guard let host = request.header("host"), let referer = request.header("referer") else { return "/" }
        for origin in ["https://\(host)", "http://\(host)"] where referer.utf8.starts(with: "\(origin)/".utf8) {
            let path = String(decoding: referer.utf8.dropFirst(origin.utf8.count), as: UTF8.self)
            if SameOrigin.isPlainPath(path) { return path }
        }
        return "/"
    }

    /// Turns "at most 20971520 bytes" into "at most 20 MB".
    static func withLargeUnits(_ text: String) -> String {
        var words = pieces(of: text, at: UInt8(ascii: " "), omittingEmpty: false).map(String.init)
        for index in words.indices.dropFirst() where words[index].utf8.starts(with: "bytes".utf8) {
            guard let count = Int(words[index - 1]), count >= 10_000 else { continue }
            let (size, unit) = count >= 1 << 20 ? (count / (1 << 20), "MB") : (count / 1024, "KB")
            words[index - 1] = "\(size)"
            words[index] = unit + words[index].dropFirst(5)
        }
        return words.joined(separator: " ")
    }
}
