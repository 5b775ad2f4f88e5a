import ChatAdapters
import ChatCore

/// Serves the API's descriptions, for programs and for people, from `DOCS_DIR`.
struct DocumentEndpoints {
    let folder: String

    /// RFC 9512 defines the type for YAML.
    private static let files = [
        ("/openapi.yaml", "openapi.yaml", "application/yaml"), ("/asyncapi.yaml", "asyncapi.yaml", "application/yaml"),
        ("/docs", "index.html", "text/html; charset=utf-8"),
    ]

    func add(to router: inout Router) {
        for (address, file, type) in Self.files {
            router.on("GET", address, open: true, query: nil) { _ throws(Refusal) in
                guard let text = readFile("\(folder)/\(file)") else {
                    throw Refusal(.notFound, "the description is not installed here: DOCS_DIR names its folder")
                }
                var response = Response(status: 200, type: type, body: Array(text.utf8))
                if file.hasSuffix(".html") {
                    response.headers.append(("Content-Security-Policy", Protection.policy(page: response.body)))
                }
                return response
            }
        }
    }
}
