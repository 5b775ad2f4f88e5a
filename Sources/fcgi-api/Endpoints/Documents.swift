import ChatAdapters
import ChatCore
import Crypto

/// Serves the API's descriptions, for programs and for people, from `DOCS_DIR`.
struct DocumentEndpoints {
    let folder: String

    /// RFC 9512 defines the type for YAML.
    private static let files = [
        ("/openapi.yaml", "openapi.yaml", "application/yaml"), ("/asyncapi.yaml", "asyncapi.yaml", "application/yaml"),
        ("/docs", "index.html", "text/html; charset=utf-8"),
    ]

    /// Compares weakly (RFC 9110, 13.1.2): nginx makes the tag of a compressed answer a weak one.
    private static func knows(_ tag: String, _ told: String?) -> Bool {
        pieces(of: told ?? "", at: UInt8(ascii: ",")).map { trimmed($0) }.contains { known in
            areSameBytes(known, "*") || areSameBytes(known, tag) || areSameBytes(known, "W/\(tag)")
        }
    }

    func add(to router: inout Router) {
        for (address, file, type) in Self.files {
            router.on("GET", address, open: true, query: nil) { call throws(Refusal) in
                guard let text = readFile("\(folder)/\(file)") else {
                    throw Refusal(.notFound, "the description is not installed here: DOCS_DIR names its folder")
                }
                var response = Response(status: 200, type: type, body: Array(text.utf8))
                if file.hasSuffix(".html") {
                    response.headers.append(("Content-Security-Policy", Protection.policy(page: response.body)))
                }
                // A browser asks each time, and gets the text only when it has changed.
                let tag = "\"\(base64(Array(SHA256.hash(data: response.body))))\""
                response.headers += [("ETag", tag), ("Cache-Control", "no-cache")]
                guard Self.knows(tag, call.request.header("if-none-match")) else { return response }
                response.status = 304
                response.body = []
                return response
            }
        }
    }
}
